"""The golden requests, and what they are requests for. `python -m tests.hosted.golden` writes them again."""

import json
from pathlib import Path
from typing import Any

from clips.catalog import Accepts, Catalog, Model
from clips.domain import Camera, ClipSpec, Size, Strength
from clips.fields import Wishes, filled
from clips.hosting import Tool

GOLDEN = Path(__file__).parent
CATALOG = Catalog.load()
HOSTED: list[Model | Tool] = [*(model for model in CATALOG if model.hosted), *CATALOG.tools.values()]
SEED = 2**31 + 7


def requests_of(entry: Model | Tool) -> dict[str, Any]:
    """The plainest request for an entry and the fullest, as JSON carries them."""
    both = (
        {"plain": _plain(entry), "full": _full(entry)}
        if isinstance(entry, Model)
        else {
            "plain": filled(entry.hosted.fields, Wishes(video=_at("video"), videos=[_at("one"), _at("two")])),
            "full": filled(
                entry.hosted.fields,
                Wishes(
                    video=_at("video"),
                    videos=[_at("one"), _at("two")],
                    prompt="rain",
                    avoid="voices",
                    seconds=5.0,
                    fps=24,
                    seed=SEED,
                    factor=4,
                ),
            ),
        }
    )
    return json.loads(json.dumps(both))


def _plain(model: Model) -> dict[str, Any]:
    return _asked(model, ClipSpec(model.name, seconds=min(5, model.longest)), model.needs)


def _full(model: Model) -> dict[str, Any]:
    takes = model.accepts | model.needs
    spec = ClipSpec(
        model.name,
        motion="waves roll in",
        avoid="people" if Accepts.AVOID in takes else "",
        seconds=model.longest,
        size=Size.P1080 if Size.P1080 in model.sizes and not model.frames_at else Size.NATIVE,
        camera=Camera.STATIC,
        strength=Strength.HIGH if Accepts.STRENGTH in takes else Strength.MEDIUM,
        consistency=0.5 if Accepts.CONSISTENCY in takes else None,
        sound=Accepts.SOUND in takes,
        speech="Look at the sea." if Accepts.SPEECH in takes else "",
        ambient="gulls" if Accepts.AMBIENT in takes else "",
        camera_direction="a slow arc to the left" if Accepts.CAMERA_DIRECTION in takes else "",
        subject="she turns round" if Accepts.SUBJECT in takes else "",
        speed="unhurried" if Accepts.SPEED in takes else "",
    )
    return _asked(model, spec, takes)


def _asked(model: Model, spec: ClipSpec, given: frozenset[Accepts]) -> dict[str, Any]:
    files = {str(name): _at(name) for name in (Accepts.PHOTO, Accepts.END_PHOTO, Accepts.MOTION_VIDEO) if name in given}
    if Accepts.REFERENCES in given:
        files |= {f"reference_{number}": _at(f"reference-{number}") for number in (2, 1)}
    model.check(spec, given)
    if model.hosted is None:
        raise ValueError(f"{model.name} is not hosted")
    plan = model.plan(spec, (640, 480))
    return {**model.hosted.input_for(spec, plan, model.size_of(spec), SEED, files)}


def _at(name: str) -> str:
    return f"https://files.example/{name}"
