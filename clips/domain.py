"""The words of the project as types. Pure: no I/O, no clock, no randomness."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

GuildId = NewType("GuildId", int)
ChannelId = NewType("ChannelId", int)
UserId = NewType("UserId", int)
MessageId = NewType("MessageId", int)
RequestId = NewType("RequestId", int)
TakeId = NewType("TakeId", int)
DeliveryId = NewType("DeliveryId", int)
Sha256 = NewType("Sha256", str)
"""A blob's name: the SHA-256 of its bytes, in lower-case hexadecimal."""


class Lane(StrEnum):
    """`fast` spends budget; `relaxed` is free and served when no fast work waits."""

    FAST = "fast"
    RELAXED = "relaxed"


class RequestKind(StrEnum):
    """What a request does. Each kind has lineage to its parent where it has one."""

    ANIMATE = "animate"
    REROLL = "reroll"
    REMIX = "remix"
    VARY = "vary"
    RETRY = "retry"


class TakeState(StrEnum):
    """Where a take is. Waiting, ready, backoff and parked have no generator; the last three are final."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    BACKOFF = "backoff"
    PARKED = "parked"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in {TakeState.DONE, TakeState.FAILED, TakeState.CANCELLED}


class RequestStatus(StrEnum):
    """Derived from the takes, never stored."""

    WAITING = "waiting"
    RENDERING = "rendering"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Strength(StrEnum):
    """How much moves."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Camera(StrEnum):
    """A camera move asked for by name; it is appended to the motion prompt where a model has only words."""

    STATIC = "static"
    ZOOM_IN = "zoom in"
    PULL_BACK = "pull back"
    PAN_LEFT = "pan left"
    PAN_RIGHT = "pan right"
    TILT_UP = "tilt up"
    TILT_DOWN = "tilt down"
    SWAY = "sway"


class Size(StrEnum):
    """The short side of the clip, in pixels; `native` is the model's own."""

    NATIVE = "native"
    P480 = "480p"
    P720 = "720p"
    P1080 = "1080p"


class Fit(StrEnum):
    """How a photo of one shape fills a clip of another."""

    CROP = "crop"
    PAD = "pad"


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """What a member wishes for, before a model snaps it. `seconds` and `size` are wishes; `Plan` is what comes.

    The last five are asked for in a form, by models that take them: what is said, what is heard beside it, how the
    camera goes, what the subject does, how fast all that is.
    """

    model: str
    motion: str = ""
    avoid: str = ""
    seconds: float = 5.0
    size: Size = Size.NATIVE
    camera: Camera | None = None
    strength: Strength = Strength.MEDIUM
    consistency: float | None = None
    fit: Fit = Fit.CROP
    sound: bool = False
    speech: str = ""
    ambient: str = ""
    camera_direction: str = ""
    subject: str = ""
    speed: str = ""

    @property
    def prompt(self) -> str:
        """The motion prompt with the camera move in words."""
        return ", ".join(
            part for part in (self.motion.strip(), f"camera: {self.camera}" if self.camera else "") if part
        )

    @property
    def audible(self) -> bool:
        """Is the clip to have sound? Whoever has something said wants to hear it."""
        return self.sound or bool(self.speech.strip() or self.ambient.strip())


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be rendered: pixels, frames and frames per second that the model can do; `credits` quotes one take.

    `microdollars` is what a paid provider takes for it. A hosted model may come back with other pixels and frames: the
    clip's row says which.
    """

    width: int
    height: int
    frames: int
    fps: int
    credits: int
    microdollars: int = 0

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running take is. `phase` is `load`, in kilobytes, `warm`, `encode`, `step`, `decode` or `store`.

    Elsewhere: `queue`, and `part` in the place of `step`, where `done` of `total` is guessed from the time it takes.
    """

    phase: str
    done: int
    total: int


def status_of(states: list[TakeState]) -> RequestStatus:
    """A request's status from the states of its takes (at least one).

    One finished take makes an ended request done; only a request without any is failed or cancelled.
    """
    if any(state is TakeState.RUNNING for state in states):
        return RequestStatus.RENDERING
    if not all(state.final for state in states):
        return RequestStatus.RENDERING if TakeState.DONE in states else RequestStatus.WAITING
    for state, status in (
        (TakeState.DONE, RequestStatus.DONE),
        (TakeState.FAILED, RequestStatus.FAILED),
    ):
        if state in states:
            return status
    return RequestStatus.CANCELLED
