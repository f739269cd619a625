"""The forms: what they ask, and how a wish comes out of them. What a form must remember is in its draft, not in us."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

import discord
from discord import ui
from pydantic import BaseModel

from bot.application import Interaction, member_of
from clips import intakes, queue
from clips.catalog import Catalog, Model
from clips.domain import Size, Strength
from clips.errors import MemberError
from clips.intakes import Wish
from courier.buttons import ModalId, Purpose

_LONGEST_TEXT = 1000
_TITLES = {
    Purpose.ANIMATE: "Animate this photo",
    Purpose.REMIX: "Remix",
    Purpose.ON_MY_PHOTO: "The same on my photo",
    Purpose.CHANGE: "Change and try again",
}


class _Input(BaseModel):
    """A field as Discord sends it back: one value or several, as its type has it."""

    custom_id: str
    value: str | None = None
    values: list[str] = []


class _Label(BaseModel):
    component: _Input


class _Upload(BaseModel):
    url: str


class _Resolved(BaseModel):
    attachments: dict[str, _Upload] = {}


class _Submission(BaseModel):
    """A submitted form: https://discord.com/developers/docs/interactions/receiving-and-responding."""

    components: list[_Label]
    resolved: _Resolved = _Resolved()


@dataclass(frozen=True, slots=True)
class Form:
    """What a member filled in."""

    texts: dict[str, str]
    photo_url: str | None

    @classmethod
    def of(cls, interaction: Interaction) -> "Form":
        submission = _Submission.model_validate(interaction.data)
        inputs = [label.component for label in submission.components]
        uploads = [
            submission.resolved.attachments[each] for one in inputs if one.custom_id == "photo" for each in one.values
        ]
        texts = {one.custom_id: one.value if one.value is not None else next(iter(one.values), "") for one in inputs}
        return cls(texts, uploads[0].url if uploads else None)


async def ask(interaction: Interaction, purpose: Purpose, wish: Wish) -> None:
    """Open a form, filled in from the wish, as the first answer to an interaction."""
    member, parts = member_of(interaction), interaction.client.parts
    alive = await queue.alive_models(parts.pool)
    draft_id = await intakes.save_draft(parts.pool, member.guild_id, member.user_id, wish)
    offered = _offered(parts.catalog, alive, wish.model)
    await interaction.response.send_modal(_form(ModalId(purpose, draft_id), wish, offered))


async def submit(interaction: Interaction, modal: ModalId) -> None:
    """Go on with what a member filled in."""
    member, parts = member_of(interaction), interaction.client.parts
    wish = await intakes.read_draft(parts.pool, member.guild_id, member.user_id, modal.draft_id)
    if wish is None:
        raise MemberError("That form is more than a week old. Open it again from its button or command.")
    await parts.intake.take(interaction, filled_in(wish, Form.of(interaction)))


def filled_in(wish: Wish, form: Form) -> Wish:
    """The wish with what the form says. Raises `MemberError` for what cannot be read.

    A size belongs to its model, and no form asks for one: another model makes its own.
    """
    strength = form.texts.get("strength")
    model = form.texts.get("model") or wish.model
    return replace(
        wish,
        motion=form.texts.get("motion", wish.motion).strip(),
        avoid=form.texts.get("avoid", wish.avoid).strip(),
        model=model,
        size=wish.size if model == wish.model else Size.NATIVE,
        seconds=_seconds(form.texts["length"]) if form.texts.get("length", "").strip() else wish.seconds,
        strength=Strength(strength) if strength else wish.strength,
        photo_url=form.photo_url or wish.photo_url,
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text.strip().lower().removesuffix("s").strip().replace(",", "."))
    except ValueError:
        seconds = 0.0
    if not isfinite(seconds) or not 1 <= seconds <= 15:
        raise MemberError(f"“{text.strip()[:40]}” is not a length. Open the form again and write seconds, 1 to 15.")
    return seconds


def _written(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:g}"


def _offered(catalog: Catalog, alive: set[str], wished: str | None) -> list[Model]:
    """What the form's list holds: models at work, and the one that the recipe has (Discord wants one at least)."""
    offered = [model for model in catalog if model.name in alive or model.name == wished]
    return (offered or list(catalog))[:25]


def _form(modal: ModalId, wish: Wish, offered: Sequence[Model]) -> ui.Modal:
    form = ui.Modal(title=_TITLES[modal.purpose], custom_id=modal.custom_id)
    # Its answer is met by its id, also in another process: the library need not remember it.
    form.stop()
    if modal.purpose is Purpose.ON_MY_PHOTO:
        form.add_item(
            ui.Label(text="Your photo", component=ui.FileUpload(custom_id="photo", min_values=1, max_values=1))
        )
    form.add_item(
        _text("motion", "Motion", wish.motion, "what moves, and how: wind in her hair, waves roll in", paragraph=True)
    )
    if modal.purpose is not Purpose.ON_MY_PHOTO:
        form.add_item(_text("avoid", "Avoid", wish.avoid, "what should not appear: text, extra hands"))
    models = [
        discord.SelectOption(
            label=model.title[:100],
            value=model.name,
            description=model.summary[:100],
            default=model.name == wish.model,
        )
        for model in offered
    ]
    # Without a choice the server's default is taken, or the best at work.
    form.add_item(
        ui.Label(text="Model", component=ui.Select(custom_id="model", options=models, required=False, min_values=0))
    )
    form.add_item(
        _text("length", "Length in seconds", _written(wish.seconds), "1 to 15; empty: what suits the model", longest=10)
    )
    strengths = [
        discord.SelectOption(label=f"{each.capitalize()} motion", value=each, default=each is wish.strength)
        for each in Strength
    ]
    form.add_item(ui.Label(text="Strength", component=ui.Select(custom_id="strength", options=strengths)))
    return form


def _text(
    name: str, label: str, value: str, placeholder: str, *, paragraph: bool = False, longest: int = _LONGEST_TEXT
) -> ui.Label[ui.Modal]:
    style = discord.TextStyle.paragraph if paragraph else discord.TextStyle.short
    field = ui.TextInput[ui.Modal](
        custom_id=name,
        style=style,
        default=value[:longest] or None,
        placeholder=placeholder,
        required=False,
        max_length=longest,
    )
    return ui.Label(text=label, component=field)
