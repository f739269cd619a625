"""What a provider's error means, in words for the member."""

import re

from pydantic import JsonValue

from clips.catalog import Model
from clips.errors import MemberError

_MODERATION = re.compile(
    r"\bE005\b|nsfw|sensitive|moderat|safety|flagged|content polic|polic(?:y|ies) violat|violat\w* \w* ?polic"
    r"|prohibited|inappropriate|not allowed by|copyright|public figure|risk control",
    re.IGNORECASE,
)
_PHOTO = re.compile(r"(?:image|photo|picture|resolution|aspect|dimension)", re.IGNORECASE)
_NOISE = re.compile(r"\s*(?:Traceback.*|\(request[ _]id.*|https?://\S+)", re.IGNORECASE | re.DOTALL)
_LONGEST = 160


class ModerationError(MemberError):
    """The provider's own rules refuse the photo or the words."""


def refusal(model: Model, error: JsonValue) -> MemberError:
    """Why a prediction failed."""
    said = _words(error)
    if _MODERATION.search(str(error or "")):
        return ModerationError(
            f"{model.title} refused this by its provider's content rules{_quoted(said)}. "
            "Change the photo or the words, or pick another model."
        )
    if _PHOTO.search(said):
        return MemberError(f"{model.title} could not use the photo{_quoted(said)}. Try another one, or another model.")
    return MemberError(f"{model.title} failed at its provider{_quoted(said)}. Try again, or pick another model.")


def _words(error: JsonValue) -> str:
    """The provider's words on one line, without addresses and traces."""
    words = " ".join(_NOISE.sub(" ", str(error or "")).split()).rstrip(".")
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1].rstrip()}…"


def _quoted(said: str) -> str:
    return f" (“{said}”)" if said else ""
