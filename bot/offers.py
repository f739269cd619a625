"""When the queue is longer than a server lets members wait: the offer of fewer takes, instead of a charge."""

import discord
from discord import ui

from bot import answers
from clips.errors import MemberError
from clips.guilds import Rules
from clips.queue import Place
from clips.requests import Ask
from courier.buttons import ModalId, Purpose
from courier.wording import count_of_takes


class TooLongError(MemberError):
    """The last take would come later than members may wait. `possible`: how many takes would make it.

    `draft_id` is set once the wish for these is kept.
    """

    def __init__(self, sentence: str, possible: int) -> None:
        super().__init__(sentence)
        self.possible = possible
        self.draft_id: int | None = None


def check_wait(ask: Ask, place: Place, rules: Rules) -> None:
    """Raise `TooLongError` where the last take would end later than the server lets members wait."""
    longest = rules.longest_wait.total_seconds()
    if place.ends_in <= longest:
        return
    each = (place.ends_in - place.starts_in) / ask.takes
    possible = max(0, min(ask.takes - 1, int((longest - place.starts_in) / each))) if each else 0
    raise TooLongError(answers.too_long(ask.takes, possible, place.ends_in, rules), possible)


def fewer(refusal: TooLongError) -> ui.View | None:
    """The button that asks for what would make it."""
    if refusal.draft_id is None:
        return None
    view = ui.View(timeout=None)
    view.add_item(
        ui.Button[ui.View](
            label=f"Make {count_of_takes(refusal.possible)}",
            custom_id=ModalId(Purpose.ACCEPT, refusal.draft_id).custom_id,
            style=discord.ButtonStyle.primary,
        )
    )
    view.stop()  # its press is met by its id: the library has nothing to remember
    return view
