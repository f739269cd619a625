"""What a message is before Discord gets it: words, buttons, files. Plain values that compare by what they show."""

from dataclasses import dataclass
from enum import StrEnum

from clips.domain import TakeId, UserId
from courier.buttons import ButtonId

MOST_CHARACTERS = 2000
"""Discord's limit for a message's text."""


class Style(StrEnum):
    """How a button looks: the one that stands out, an ordinary one, one that takes something away."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    DANGER = "danger"


@dataclass(frozen=True, slots=True)
class Button:
    """A button, and what it asks for."""

    label: str
    id: ButtonId
    style: Style = Style.SECONDARY
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class File:
    """A take's clip as it is attached. By its name it is found again on a message."""

    take_id: TakeId
    name: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message. Nobody but `mention` is notified, whatever the text says. Files of a spoiler are hidden at first."""

    content: str
    mention: UserId | None = None
    rows: tuple[tuple[Button, ...], ...] = ()
    files: tuple[File, ...] = ()
    spoiler: bool = False

    def __post_init__(self) -> None:
        if len(self.content) > MOST_CHARACTERS:
            raise ValueError(f"a message of {len(self.content)} characters is too long for Discord")
        if len(self.rows) > 5 or any(not 1 <= len(row) <= 5 for row in self.rows):
            raise ValueError("buttons stand in at most five rows of one to five")
