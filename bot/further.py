"""The form for what a model takes beside the options of `/animate`: its fields, named as in the catalogue."""

from dataclasses import dataclass

import discord
from discord import ui

from bot.needs import asked, missing
from clips.catalog import Accepts, Model
from clips.inputs import MOST_REFERENCES
from clips.intakes import Wish

LONGEST_TEXT = 1000
_LONGEST_TITLE = 45


@dataclass(frozen=True, slots=True)
class _Field:
    """A field's label, and what it says below (of uploads) or inside (of texts)."""

    label: str
    hint: str


_FIELDS = {
    Accepts.PHOTO: _Field("Photo", "The first frame of the clip"),
    Accepts.END_PHOTO: _Field("End photo", "The last frame of the clip"),
    Accepts.MOTION_VIDEO: _Field("Motion video", "MP4 or MOV: who is on the photo moves as the one in this video"),
    Accepts.REFERENCES: _Field("Reference images", "Who and what shall appear; none of them is a frame of the clip"),
    Accepts.SPEECH: _Field("Speech", "what is said, in plain words: Welcome to the fair!"),
    Accepts.AMBIENT: _Field("Ambient sound", "what is heard beside it: rain, a murmuring crowd"),
    Accepts.CAMERA_DIRECTION: _Field("Camera", "how the camera goes: a slow push in, then a pan to the left"),
    Accepts.SUBJECT: _Field("Subject", "what the subject does: she turns and smiles"),
    Accepts.SPEED: _Field("Speed", "how fast all that is: slow motion, a time lapse"),
}


def fields(model: Model, wish: Wish) -> list[ui.Label[ui.Modal]]:
    """What the form holds; nothing where there is nothing to ask."""
    needed = missing(wish, model)
    return [_field(what, wish, required=what in needed) for what in asked(wish, model)]


def title(model: Model) -> str:
    """At most as long as Discord shows."""
    return f"For {model.title}"[:_LONGEST_TITLE]


def _field(what: Accepts, wish: Wish, *, required: bool) -> ui.Label[ui.Modal]:
    field = _FIELDS[what]
    if what in {Accepts.PHOTO, Accepts.END_PHOTO, Accepts.MOTION_VIDEO, Accepts.REFERENCES}:
        most = MOST_REFERENCES - len(wish.references) if what is Accepts.REFERENCES else 1
        upload = ui.FileUpload[ui.Modal](custom_id=what, required=required, min_values=int(required), max_values=most)
        return ui.Label(text=field.label, description=field.hint, component=upload)
    text = ui.TextInput[ui.Modal](
        custom_id=what,
        style=discord.TextStyle.paragraph if what is Accepts.SPEECH else discord.TextStyle.short,
        placeholder=field.hint,
        required=required,
        max_length=LONGEST_TEXT,
    )
    return ui.Label(text=field.label, component=text)
