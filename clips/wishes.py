"""What a model may take and a member may wish for, and how that is said. Pure."""

from collections.abc import Sequence
from enum import StrEnum


class Accepts(StrEnum):
    """What a model honours. `PHOTO` is the first frame, which most models need; `REFERENCES` never become a frame."""

    PHOTO = "photo"
    MOTION = "motion"
    AVOID = "avoid"
    CAMERA = "camera"
    STRENGTH = "strength"
    CONSISTENCY = "consistency"
    PADDING = "padding"
    SEED = "seed"
    VARIATION = "variation"
    END_PHOTO = "end_photo"
    REFERENCES = "references"
    MOTION_VIDEO = "motion_video"
    SPEECH = "speech"
    AMBIENT = "ambient"
    CAMERA_DIRECTION = "camera_direction"
    SUBJECT = "subject"
    SPEED = "speed"
    SOUND = "sound"


_WORDS = {
    Accepts.PHOTO: "a photo",
    Accepts.AVOID: "words to avoid",
    Accepts.SEED: "a seed",
    Accepts.END_PHOTO: "an end photo",
    Accepts.REFERENCES: "reference images",
    Accepts.MOTION_VIDEO: "a motion video",
    Accepts.AMBIENT: "ambient sound",
    Accepts.CAMERA_DIRECTION: "words for the camera",
    Accepts.SUBJECT: "words for the subject",
    Accepts.SPEED: "words for the speed",
}


def wishes_named(wishes: Sequence[Accepts]) -> str:
    """What a model takes, in words: “an end photo and sound”."""
    return joined([_WORDS.get(wish, wish.replace("_", " ")) for wish in wishes])


def joined(words: Sequence[str]) -> str:
    """One or more words as a list in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
