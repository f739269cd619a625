"""The client that every handler meets: discord.py's, with our parts on it. It composes nothing; `bot.client` does."""

from dataclasses import dataclass

import discord

from bot.download import Downloads
from bot.intake import Intake
from clips.blobs import BlobStore
from clips.catalog import Catalog
from clips.domain import GuildId, UserId
from clips.errors import MemberError
from clips.postgres import Pool
from clips.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """What the handlers work with."""

    settings: Settings
    pool: Pool
    blobs: BlobStore
    catalog: Catalog
    downloads: Downloads
    intake: Intake


class Application(discord.AutoShardedClient):
    """`parts` is set before the gateway opens, so every interaction finds it."""

    parts: Parts


Interaction = discord.Interaction[Application]


@dataclass(frozen=True, slots=True)
class Member:
    """Who acts, and in which server."""

    guild_id: GuildId
    user_id: UserId
    staff: bool


def member_of(interaction: Interaction) -> Member:
    """The acting member. Raises `MemberError` outside a server: there are no budgets and no channel to post in."""
    if interaction.guild_id is None:
        raise MemberError("Zoetrope works in servers, not in direct messages. Use the command in a server's channel.")
    return Member(
        GuildId(interaction.guild_id), UserId(interaction.user.id), staff=interaction.permissions.manage_guild
    )
