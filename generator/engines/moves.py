"""Which camera moves a motion prompt asks for. Pure: words in, numbers out.

Reads English as people write it for video models: several moves at once, slow or fast, and what must not happen.
"""

import re
from dataclasses import dataclass, replace

from clips.domain import Camera, ClipSpec, Strength


@dataclass(frozen=True, slots=True)
class Moves:
    """How much of each move, 1.0 being a calm five-second move; signs are directions.

    `zoom` > 0 goes in; `pan` > 0 turns right; `tilt` > 0 turns down; `sway` moves the scene itself; `handheld` shakes.
    """

    zoom: float = 0.0
    pan: float = 0.0
    tilt: float = 0.0
    sway: float = 0.0
    handheld: float = 0.0


_ADVERBS = r"(?:\s+(?:slowly|gently|smoothly|softly|quickly|fast|to|the|towards?|a|bit|slightly|steadily))*\s+"
_CAMERA_GOES = r"camera" + _ADVERBS + r"(?:move|drift|turn|glide|swing|slide|fl(?:y|ie)|rise|go|sweep|look)\w*"
_TURN = rf"(?:pan|track|truck|slid|swivel)\w*|{_CAMERA_GOES}"
_LIFT = rf"(?:tilt|pan|cran|pedestal|boom)\w*|{_CAMERA_GOES}"
_PUSH = rf"(?:zoom|push|doll(?:y|ie)|pull|mov)\w*|{_CAMERA_GOES}"

_SCENERY = (
    r"sway\w*|wind|windy|breeze|rippl\w+|waves?|waving|water|leaves|grass|flutter\w*|flow(?:s|ing)?|hair|branches"
    r"|breath(?:e|es|ing)|float(?:s|ing)?|flicker\w*|billow\w*|swing(?:s|ing)?"
)

_MOVES: tuple[tuple[str, float, re.Pattern[str]], ...] = tuple(
    (axis, amount, re.compile(rf"\b(?:{pattern})\b"))
    for axis, amount, pattern in (
        ("zoom", -1.0, rf"(?:{_PUSH}){_ADVERBS}(?:out|back|backwards?|away)|pull-?back|zoom-out|reveal(?:s|ing)?"),
        ("zoom", 1.0, rf"(?:{_PUSH}){_ADVERBS}(?:in|into|closer|forwards?)|push-in|zoom-in|closer|approach(?:es|ing)?"),
        ("pan", -1.0, rf"(?:{_TURN}){_ADVERBS}left(?:wards?)?|left(?:ward)? pan|(?:from )?right to left"),
        ("pan", 1.0, rf"(?:{_TURN}){_ADVERBS}right(?:wards?)?|right(?:ward)? pan|(?:from )?left to right"),
        ("tilt", -1.0, rf"(?:{_LIFT}){_ADVERBS}up(?:wards?)?|upward tilt|camera rises|crane shot"),
        ("tilt", 1.0, rf"(?:{_LIFT}){_ADVERBS}down(?:wards?)?|downward tilt|camera (?:descends|sinks|lowers)"),
        ("handheld", 1.0, r"hand-?held|shak(?:e|es|y|ing)"),
        ("sway", 1.0, _SCENERY),
        # The bare words, for what the patterns above did not name a direction for.
        ("zoom", 1.0, r"zoom(?:s|ing)?|doll(?:y|ies|ying)"),
        ("pan", 1.0, r"pan(?:s|ning)?"),
        ("tilt", -1.0, r"tilt(?:s|ing)?"),
    )
)
_STATIC = re.compile(r"\b(?:static|locked[ -]?(?:off|down)?|fixed|tripod|no (?:camera )?(?:movement|motion|moves?))\b")
_NOT = re.compile(r"\b(?:no|not|never|without|avoid|don'?t|doesn'?t|isn'?t)\b(?:\W+\w+){0,3}\W*$")
_CLAUSE = re.compile(r"[,.;:!\n]+|\b(?:and|while|then|as|with|but)\b")
_PACE = (
    (0.6, re.compile(r"\b(?:slow(?:ly)?|gentl[ey]|subtl[ey]|calm(?:ly)?|soft(?:ly)?|slight(?:ly)?|barely)\b")),
    (
        1.6,
        re.compile(r"\b(?:fast|quick(?:ly)?|rapid(?:ly)?|dramatic(?:ally)?|sudden(?:ly)?|strong(?:ly)?|wild(?:ly)?)\b"),
    ),
)
_STRENGTH = {Strength.LOW: 0.6, Strength.MEDIUM: 1.0, Strength.HIGH: 1.5}
_CAMERA = {
    Camera.STATIC: Moves(),
    Camera.ZOOM_IN: Moves(zoom=1.0),
    Camera.PULL_BACK: Moves(zoom=-1.0),
    Camera.PAN_LEFT: Moves(pan=-1.0),
    Camera.PAN_RIGHT: Moves(pan=1.0),
    Camera.TILT_UP: Moves(tilt=-1.0),
    Camera.TILT_DOWN: Moves(tilt=1.0),
    Camera.SWAY: Moves(sway=1.0),
}
UNASKED = Moves(zoom=0.8)
"""A photo without a word about its motion is approached slowly."""


def read_moves(spec: ClipSpec) -> Moves:
    """The moves of the motion prompt and the named camera move, without those to avoid, times the strength.

    A named camera move decides about zoom, pan and tilt; the prompt then only adds sway and shake.
    """
    asked = _read(spec.motion)
    static = spec.camera is Camera.STATIC or (spec.camera is None and _STATIC.search(spec.motion.lower()) is not None)
    if spec.camera is not None or static:
        named = _CAMERA[spec.camera or Camera.STATIC]
        asked |= {"zoom": named.zoom, "pan": named.pan, "tilt": named.tilt}
        asked["sway"] = max(asked.get("sway", 0.0), named.sway)
    elif not asked:
        asked = _read("") | {"zoom": UNASKED.zoom}
    avoided = {axis for axis, amount in _read(spec.avoid).items() if amount}
    scale = _STRENGTH[spec.strength]
    return replace(Moves(), **{axis: amount * scale for axis, amount in asked.items() if axis not in avoided})


def _read(text: str) -> dict[str, float]:
    """Axis → amount for each axis that the text names; the first mention of an axis counts."""
    asked: dict[str, float] = {}
    pace = _pace(text.lower())
    for clause in _CLAUSE.split(text.lower()):
        own = _pace(clause) or pace or 1.0
        for axis, amount, pattern in _MOVES:
            found = pattern.search(clause)
            if found and axis not in asked and not _NOT.search(clause[: found.start()]):
                asked[axis] = amount * own
    return asked


def _pace(text: str) -> float | None:
    return next((factor for factor, pattern in _PACE if pattern.search(text)), None)
