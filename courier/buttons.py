"""What the ids of buttons and modals say. Pure, and the whole memory of a button: it outlives every process.

An id names rows and never carries what they hold: a press reads the row again and checks the presser's rights. Ids that
are out there must stay readable, so the form has a version and a new form gets a new one.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from clips.domain import RequestId

_LARGEST = 2**63 - 1
"""Row ids are Postgres bigints; a larger number cannot be one of ours."""
_NUMBER = "[1-9][0-9]{0,18}"


class Action(StrEnum):
    """What a press asks for."""

    CANCEL = "cancel"
    DELETE = "delete"
    DELETE_FOR_GOOD = "delete-for-good"
    REROLL = "reroll"
    REMIX = "remix"
    VARY = "vary"
    SUBTLE = "subtle"
    STRONG = "strong"
    ON_MY_PHOTO = "on-my-photo"
    TRY_AGAIN = "try-again"
    CHANGE = "change"
    CHOOSE = "choose"
    MORE = "more"
    RECIPE = "recipe"


class Purpose(StrEnum):
    """What a draft is kept for: the modal, or the button of an offer, that comes back with its id."""

    ANIMATE = "animate"
    REMIX = "remix"
    ON_MY_PHOTO = "on-my-photo"
    CHANGE = "change"
    ACCEPT = "accept"
    FURTHER = "further"
    CONFIRM_ONE = "confirm-one"
    CONFIRM = "confirm"


PATTERN = re.compile(rf"z1:(?P<action>{'|'.join(Action)}):(?P<request>{_NUMBER}):(?P<take>[0-4])")
"""The form of a `ButtonId`, for `discord.ui.DynamicItem`."""
DRAFT_PATTERN = re.compile(rf"z1:draft:(?P<purpose>{'|'.join(Purpose)}):(?P<draft>{_NUMBER})")
"""The form of a `ModalId`, for `discord.ui.DynamicItem` where an offer's button carries one."""


@dataclass(frozen=True, slots=True)
class ButtonId:
    """A button of a request. `take` is the index (1-4) of the take it acts on; 0: the chosen one, or all."""

    action: Action
    request_id: RequestId
    take: int = 0

    @property
    def custom_id(self) -> str:
        """At most 100 characters (Discord)."""
        return f"z1:{self.action}:{self.request_id}:{self.take}"

    @classmethod
    def parse(cls, custom_id: str) -> Self | None:
        """The button of an id; None if it is none of ours."""
        found = PATTERN.fullmatch(custom_id)
        if found is None or int(found["request"]) > _LARGEST:
            return None
        return cls(Action(found["action"]), RequestId(int(found["request"])), int(found["take"]))


@dataclass(frozen=True, slots=True)
class ModalId:
    """A modal, or an offer's button, that goes on with a draft."""

    purpose: Purpose
    draft_id: int

    @property
    def custom_id(self) -> str:
        """At most 100 characters (Discord)."""
        return f"z1:draft:{self.purpose}:{self.draft_id}"

    @classmethod
    def parse(cls, custom_id: str) -> Self | None:
        """The draft of an id; None if it is none of ours."""
        found = DRAFT_PATTERN.fullmatch(custom_id)
        if found is None or int(found["draft"]) > _LARGEST:
            return None
        return cls(Purpose(found["purpose"]), int(found["draft"]))
