"""How a hosted entry of the catalogue differs from the provider's own schema of its model. Pure.

The schema says what can be sent, not what it costs: prices are compared by hand.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from clips.catalog import Accepts, Model
from clips.domain import Camera, Size, Strength
from clips.fields import ProviderField, Source, Value, Wishes
from clips.hosting import Tool
from clips.schemas import InputSchema, Node, takes, wanted

_SOUND = re.compile(r"audio|sound|music|voice|speech", re.IGNORECASE)
_SAFETY = re.compile(r"safety|nsfw|moderation", re.IGNORECASE)
_FILE = "https://files.example/file"
_WORDS = "words"


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference: what was found, and what to do about it in a sentence; nothing, where the older way goes on."""

    found: str
    fix: str


def drifts(entry: Model | Tool, schema: InputSchema) -> list[Drift]:
    """Every difference that makes the provider refuse a request, do less than the entry says, or more than is asked."""
    if entry.hosted is None:
        raise ValueError(f"{entry.name} is not hosted")
    sent, told, version = entry.hosted.fields, schema.fields, entry.hosted.version
    if version is not None and not schema.version.startswith(version):
        return [Drift(f"runs version {version[:8]}; there is a newer one, {schema.version[:8]}", "")]
    return [
        *_gone(sent, told),
        *_refused(entry, sent, told),
        *_lacking(entry, sent, schema),
        *_unasked(entry, sent, told),
        *_otherwise(entry.hosted.defaults, told),
    ]


def _gone(sent: Mapping[str, ProviderField], told: Mapping[str, Node]) -> Iterator[Drift]:
    """A field that the schema does not have is refused as a whole request (422)."""
    unused = [name for name in told if name not in sent]
    for name in (name for name in sent if name not in told):
        close = get_close_matches(name, unused, 1, 0.65)
        fix = f"Rename it to {close[0]}, if that is the same." if close else "Take it out of the entry."
        yield Drift(f"has no field {name} any more", fix)


def _refused(entry: Model | Tool, sent: Mapping[str, ProviderField], told: Mapping[str, Node]) -> Iterator[Drift]:
    for name, field in sent.items():
        if name not in told:
            continue
        values = [value for value in _values(entry, field) if not takes(told[name], value)]
        if values:
            shown = ", ".join(json.dumps(value) for value in values[:4])
            yield Drift(
                f"{name} does not take {shown}; it takes {wanted(told[name])}",
                f"Correct {name}, and the lengths, sizes or words that it comes from.",
            )


def _lacking(entry: Model | Tool, sent: Mapping[str, ProviderField], schema: InputSchema) -> Iterator[Drift]:
    plainest = _plainest(entry)
    for name in schema.required:
        if name not in sent:
            yield Drift(f"requires {name}, which is not sent", f"Add {name} to the entry's fields.")
        elif sent[name].fill(plainest) is None:
            yield Drift(
                f"requires {name}, which is left out where nothing is asked", f"Give {name} a default in the entry."
            )


def _unasked(entry: Model | Tool, sent: Mapping[str, ProviderField], told: Mapping[str, Node]) -> Iterator[Drift]:
    """What a provider does of itself, and a member has not asked for."""
    silent = isinstance(entry, Model) and Accepts.SOUND not in entry.accepts
    for name, node in told.items():
        if name in sent or node.type != "boolean":
            continue
        if silent and _SOUND.search(name):
            yield Drift(
                f"can make sound ({name}, by default {_shown(node.default)}); the entry says that it is silent",
                f'Add {name} = {{ from = "sound" }} to its fields and "sound" to what it accepts.',
            )
        elif _SAFETY.search(name):
            yield Drift(
                f"has a switch {name}, by default {_shown(node.default)}",
                f"Send {name} as a constant that keeps the provider's filter on.",
            )


def _otherwise(defaults: Mapping[str, Value], told: Mapping[str, Node]) -> Iterator[Drift]:
    """What the provider does where the entry leaves it the choice."""
    for name, known in defaults.items():
        if name not in told:
            yield Drift(f"has no field {name} any more, which was left at {_shown(known)}", "Take it out of defaults.")
        elif told[name].default != known:
            yield Drift(
                f"{name} is {_shown(told[name].default)} by default now, and was {_shown(known)}",
                f"Look at a clip made so; then correct {name} in defaults, or send it as a constant.",
            )


def _values(entry: Model | Tool, field: ProviderField) -> list[Value]:
    """Everything that the field may be filled with, and words, files and seeds as examples."""
    wishes = list(_wishes_for(entry, field))
    found = [field.fill(each) for each in wishes] + list(field.choices)
    return list(dict.fromkeys(value for value in found if value is not None))


def _wishes_for(entry: Model | Tool, field: ProviderField) -> Iterator[Wishes]:
    plainest = _plainest(entry)
    yield plainest
    sizes = list(entry.sizes) if isinstance(entry, Model) else [Size.NATIVE]
    lengths = _lengths(entry)
    examples: dict[str, Sequence[object]] = {
        Source.PHOTO: [_FILE],
        Source.END_PHOTO: [_FILE],
        Source.REFERENCES: [[_FILE]],
        Source.MOTION_VIDEO: [_FILE],
        Source.VIDEO: [_FILE],
        Source.VIDEOS: [[_FILE, _FILE]],
        Source.PROMPT: [_WORDS],
        Source.AVOID: [_WORDS],
        Source.SECONDS: [frames / fps for frames, fps in lengths],
        Source.FRAMES: [frames for frames, _ in lengths],
        Source.FPS: [fps for _, fps in lengths],
        Source.SIZE: sizes,
        Source.SEED: [0, 2**31 - 1],
        Source.SOUND: [False, True],
        Source.CAMERA: [*Camera],
        Source.STRENGTH: [*Strength],
        Source.CONSISTENCY: [0.25, 0.75],
        Source.FACTOR: [2, 4],
    }
    for name in field.sources:
        for example in examples.get(name, [_WORDS]) if name != Source.ASPECT else ():
            yield replace(plainest, **{name: example})  # pyright: ignore[reportArgumentType] - a pair of the table above


def _lengths(entry: Model | Tool) -> list[tuple[int, int]]:
    """Every length that the entry may ask for: (frames, frames a second)."""
    if not isinstance(entry, Model):
        return [(120, 24)]
    rules = [entry.frames, *entry.frames_at.values()]
    found = {frames for rule in rules for frames in range(rule.snap(rule.min), rule.snap(rule.max) + 1, rule.step)}
    return [(frames, entry.fps) for frames in sorted(found)]


def _plainest(entry: Model | Tool) -> Wishes:
    """A request that asks for nothing beyond what the entry cannot do without."""
    frames, fps = _lengths(entry)[0]
    if not isinstance(entry, Model):
        return Wishes(video=_FILE, videos=[_FILE, _FILE])
    return Wishes(
        photo=_FILE if Accepts.PHOTO in entry.needs else None,
        references=[_FILE] if Accepts.REFERENCES in entry.needs else (),
        motion_video=_FILE if Accepts.MOTION_VIDEO in entry.needs else None,
        seconds=frames / fps,
        frames=frames,
        fps=fps,
        size=entry.default_size,
        aspect=16 / 9,
        seed=1,
        sound=False,
        strength=Strength.MEDIUM,
    )


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not said" if value is None else str(value)
