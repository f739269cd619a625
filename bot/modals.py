"""The forms: what they ask, and how a wish comes out of them. What a form must remember is in its draft, not in us."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from math import isfinite

import discord
from discord import ui
from pydantic import BaseModel

from bot import further, needs, plans
from bot.application import Interaction, Parts, member_of
from clips import intakes, paid, queue
from clips.catalog import Catalog, Model
from clips.domain import GuildId, Size, Strength
from clips.errors import MemberError
from clips.intakes import Upload, Wish
from courier.buttons import ModalId, Purpose

_UPLOADS = {"photo", "end_photo", "references", "motion_video"}
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
    uploads: dict[str, list[str]]
    """Addresses by the field's name."""

    @classmethod
    def of(cls, interaction: Interaction) -> "Form":
        submission = _Submission.model_validate(interaction.data)
        inputs = [label.component for label in submission.components]
        uploaded = submission.resolved.attachments
        uploads = {
            one.custom_id: [uploaded[each].url for each in one.values] for one in inputs if one.custom_id in _UPLOADS
        }
        texts = {one.custom_id: one.value if one.value is not None else next(iter(one.values), "") for one in inputs}
        return cls(texts, uploads)

    def upload(self, name: str) -> str | None:
        """The one upload of a field."""
        return next(iter(self.uploads.get(name, [])), None)


async def ask(interaction: Interaction, purpose: Purpose, wish: Wish) -> None:
    """Open a form, filled in from the wish, as the first answer to an interaction."""
    member, parts = member_of(interaction), interaction.client.parts
    alive = await queue.alive_models(parts.pool)
    approved = await paid.providers(parts.pool, member.guild_id)
    draft_id = await intakes.save_draft(parts.pool, member.guild_id, member.user_id, wish)
    offered = _offered(parts.catalog, alive, approved, wish)
    await interaction.response.send_modal(_form(ModalId(purpose, draft_id), wish, offered))


async def ask_further(interaction: Interaction, wish: Wish) -> None:
    """Open the form for what the wish's model takes beside a photo, or go on where there is nothing to ask."""
    member, parts = member_of(interaction), interaction.client.parts
    model = parts.catalog.get(wish.model.strip().lower()) if wish.model else None
    fields: list[ui.Label[ui.Modal]] = []
    if model is not None:
        fields = further.fields(model, needs.fitted(wish, model)[0])
    # A form for what is refused anyway would be filled in for nothing.
    if model is None or not fields or not await _usable(model, wish, member.guild_id, parts):
        await parts.intake.take(interaction, wish)
        return
    draft_id = await intakes.save_draft(parts.pool, member.guild_id, member.user_id, wish)
    form = ui.Modal(title=further.title(model), custom_id=ModalId(Purpose.FURTHER, draft_id).custom_id)
    form.stop()  # as for every form: its answer is met by its id
    for field in fields:
        form.add_item(field)
    await interaction.response.send_modal(form)


async def _usable(model: Model, wish: Wish, guild_id: GuildId, parts: Parts) -> bool:
    approved = await paid.providers(parts.pool, guild_id)
    return plans.may_use(model, wish.lane, approved) and model.name in await queue.alive_models(parts.pool)


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
        photo_url=form.upload("photo") or wish.photo_url,
        photo=None if form.upload("photo") else wish.photo,
        end_photo_url=form.upload("end_photo") or wish.end_photo_url,
        end_photo=None if form.upload("end_photo") else wish.end_photo,
        references=wish.references + tuple(Upload(url=url) for url in form.uploads.get("references", [])),
        motion_video=Upload(url=video) if (video := form.upload("motion_video")) else wish.motion_video,
        speech=form.texts.get("speech", wish.speech).strip(),
        ambient=form.texts.get("ambient", wish.ambient).strip(),
        camera_direction=form.texts.get("camera_direction", wish.camera_direction).strip(),
        subject=form.texts.get("subject", wish.subject).strip(),
        speed=form.texts.get("speed", wish.speed).strip(),
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text.strip().lower().removesuffix("s").strip().replace(",", "."))
    except ValueError:
        seconds = 0.0
    if not isfinite(seconds) or not plans.SHORTEST <= seconds <= plans.LONGEST:
        raise MemberError(f"“{text.strip()[:40]}” is not a length. Open the form again and write seconds, 1 to 15.")
    return seconds


def _written(seconds: float | None) -> str:
    return "" if seconds is None else f"{round(seconds, 2):g}"


def _offered(catalog: Catalog, alive: set[str], approved: AbstractSet[str], wish: Wish) -> list[Model]:
    """What the form's list holds: models at work, and the one that the recipe has (Discord wants one at least)."""
    offered = [
        model
        for model in catalog
        if (model.name in alive and plans.may_use(model, wish.lane, approved)) or model.name == wish.model
    ]
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
    name: str, label: str, value: str, placeholder: str, *, paragraph: bool = False, longest: int = further.LONGEST_TEXT
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
