"""A wish in the words that a video model reads: for models that have nothing but words to steer them."""

from clips.domain import ClipSpec, Strength

_STILL_PHOTO = "the scene comes to life with natural, lifelike motion"
_STRENGTH = {
    Strength.LOW: "subtle, slow, gentle movement",
    Strength.MEDIUM: "",
    Strength.HIGH: "strong, fast, energetic movement",
}


def prompt(spec: ClipSpec) -> str:
    """The motion prompt with the strength in words; a photo alone gets a prompt that asks for motion."""
    return ", ".join(part for part in (described(spec), _STRENGTH[spec.strength]) if part)


def described(spec: ClipSpec) -> str:
    """The motion prompt for a model whose strength is a number."""
    return spec.prompt or _STILL_PHOTO
