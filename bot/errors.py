"""The one place where a failure of a command, a button or a modal becomes an answer."""

import logging
from uuid import uuid4

import discord
from discord import app_commands

from bot import answers
from bot.application import Application, Interaction
from clips.errors import MemberError
from courier.message import MOST_CHARACTERS
from courier.wording import cut

_log = logging.getLogger(__name__)

_ANSWERED = 40060
_TOO_LATE = 10062
_TOKEN_DEAD = 50027


class Tree(app_commands.CommandTree[Application]):
    """The commands, with our handler for what goes wrong in them."""

    async def on_error(self, interaction: Interaction, error: app_commands.AppCommandError, /) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - the library's annotation is wider than what it sends
        await report(interaction, error)


async def report(interaction: Interaction, error: Exception) -> None:
    """Tell the member in words; log what is our fault, with the number that the member was given."""
    cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
    if isinstance(cause, discord.HTTPException) and cause.code in {_ANSWERED, _TOO_LATE, _TOKEN_DEAD}:
        # Answered before (Discord sent it twice), or nobody waits for an answer any more.
        _log.warning("interaction %d cannot be answered: %s", interaction.id, cause)
        return
    match cause:
        case MemberError():
            text = answers.refused(cause)
        case app_commands.CommandSignatureMismatch() | app_commands.CommandNotFound():
            text = "That command has changed since Discord showed it to you. Reload Discord and try again."
        case app_commands.TransformerError():
            text = f"“{cause.value}” is not something that this option takes. Pick one of the suggestions."
        case _:
            trace = uuid4().hex[:12]
            _log.error("interaction %d failed, trace %s", interaction.id, trace, exc_info=cause)
            text = answers.apology(trace)
    text = cut(text, MOST_CHARACTERS)
    try:
        if interaction.response.is_done():
            await interaction.followup.send(text, ephemeral=True)
        else:
            await interaction.response.send_message(text, ephemeral=True)
    except discord.HTTPException as unsaid:
        _log.warning("interaction %d got no answer: %s", interaction.id, unsaid)
