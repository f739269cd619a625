"""What is asked back instead of a charge: fewer takes, a yes to a price, what a model needs. The wish waits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import discord
from discord import ui

from bot import answers
from clips.catalog import Accepts, Model
from clips.errors import MemberError
from clips.guilds import Rules
from clips.intakes import Wish
from clips.paid import dollars_of
from clips.queue import Place
from clips.requests import Ask
from courier.buttons import ModalId, Purpose
from courier.wording import count_of_takes, seconds_of

_NEAR = 0.5
"""Seconds that a clip may be longer or shorter than asked for without a question; the answer tells of it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A button that goes on with the draft."""

    label: str
    purpose: Purpose
    style: discord.ButtonStyle = discord.ButtonStyle.primary


class OfferError(MemberError):
    """Not so, but perhaps otherwise: the choices go on with `wish`, which is kept as the draft `draft_id`."""

    def __init__(self, sentence: str, wish: Wish, choices: Sequence[Choice]) -> None:
        super().__init__(sentence)
        self.wish = wish
        self.choices = choices
        self.draft_id: int | None = None


def check_wait(ask: Ask, place: Place, rules: Rules, wish: Wish) -> None:
    """Offer as many takes as make it, where the last one would end later than the server lets members wait."""
    longest = rules.longest_wait.total_seconds()
    if place.ends_in <= longest:
        return
    each = (place.ends_in - place.starts_in) / ask.takes
    possible = max(0, min(ask.takes - 1, int((longest - place.starts_in) / each))) if each else 0
    choices = [Choice(f"Make {count_of_takes(possible)}", Purpose.ACCEPT)] if possible else []
    sentence = answers.too_long(ask.takes, possible, place.ends_in, rules, free=ask.provider is None)
    raise OfferError(sentence, replace(wish, takes=possible), choices)


def check_price(ask: Ask, model: Model, rules: Rules, wish: Wish, otherwise: Sequence[str]) -> None:
    """Ask for a yes where a click costs more dollars than the server lets it without. `otherwise`: told with it."""
    each = ask.plan.microdollars
    price = each * ask.takes
    if price <= max(rules.confirm_above, wish.confirmed):
        return
    choices = [Choice(f"Render for {dollars_of(price)}", Purpose.CONFIRM)]
    if ask.takes > 1:
        one = Choice(f"Only 1 take for {dollars_of(each)}", Purpose.CONFIRM_ONE, discord.ButtonStyle.secondary)
        choices.append(one)
    question = answers.price_asked(ask, model, rules, otherwise)
    raise OfferError(question, replace(wish, takes=ask.takes, confirmed=price), choices)


def check_length(ask: Ask, model: Model, wish: Wish, wished: float | None, left_out: Sequence[Accepts]) -> None:
    """Ask for a yes where the model renders nothing within half a second of the `wished` length.

    `wish` has the real one, which the yes is to.
    """
    if wished is None or model.length_from is not None or abs(wished - ask.plan.seconds) <= _NEAR:
        return
    label = f"Make {count_of_takes(ask.takes)} of {seconds_of(ask.plan.seconds)}"
    raise OfferError(answers.length_asked(ask, model, wished, left_out), wish, [Choice(label, Purpose.ACCEPT)])


def check_needs(missing: Sequence[Accepts], model: Model, wish: Wish) -> None:
    """Offer the form for what the model cannot do without."""
    if missing:
        raise OfferError(answers.needed(missing, model), wish, [Choice("Add it…", Purpose.FURTHER)])


def confirmed(wish: Wish, purpose: Purpose, draft_id: int) -> Wish:
    """The wish of a draft after a yes to its price, or to that of one take."""
    if purpose is Purpose.CONFIRM_ONE:
        wish = replace(wish, takes=1, confirmed=wish.confirmed // (wish.takes or 1))
    return replace(wish, confirmed_draft=draft_id)


def view_of(offer: OfferError) -> ui.View | None:
    """The buttons of what is offered."""
    if offer.draft_id is None:
        return None
    view = ui.View(timeout=None)
    for choice in offer.choices:
        custom_id = ModalId(choice.purpose, offer.draft_id).custom_id
        view.add_item(ui.Button[ui.View](label=choice.label, custom_id=custom_id, style=choice.style))
    view.stop()  # its press is met by its id: the library has nothing to remember
    return view
