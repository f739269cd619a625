"""What the world consists of. Every record is flat and holds only what JSON holds, so that a row is its fields."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TypeAlias

Json: TypeAlias = dict[str, object]
"""A JSON object in Discord's own shape: what a client sent and was found right, or what is about to be sent."""

MIB = 1024 * 1024


class MessageFlag(IntEnum):
    """Bits of a message's flags."""

    SUPPRESS_EMBEDS = 1 << 2
    EPHEMERAL = 1 << 6
    LOADING = 1 << 7
    SUPPRESS_NOTIFICATIONS = 1 << 12
    COMPONENTS_V2 = 1 << 15


class MessageType(IntEnum):
    """What made a message."""

    DEFAULT = 0
    REPLY = 19
    SLASH_COMMAND = 20
    MENU_COMMAND = 23


class CommandType(IntEnum):
    """Where a command is offered."""

    SLASH = 1
    USER = 2
    MESSAGE = 3


class InteractionType(IntEnum):
    """What a member did."""

    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL = 5


class InteractionState(StrEnum):
    """How far an interaction has come, in the words of the member API."""

    WAITING = "waiting"
    ACKNOWLEDGED = "acknowledged"
    MODAL = "modal"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class User:
    """A person, or the application's bot. `color` is `#rrggbb`, for the page."""

    id: int
    username: str
    display_name: str
    color: str
    bot: bool = False


@dataclass(frozen=True, slots=True)
class App:
    """The one application of the world; its bot is the user `id`."""

    id: int
    name: str
    description: str
    owner_id: int


@dataclass(frozen=True, slots=True)
class Guild:
    """A server. `attachment_limit` is in bytes, for each file; a member's own, with Nitro, may be larger."""

    id: int
    name: str
    owner_id: int
    attachment_limit: int = 10 * MIB
    members_limit: int = 0

    @property
    def interaction_limit(self) -> int:
        """What an interaction's answers may carry: the larger of the server's and the member's limit."""
        return max(self.attachment_limit, self.members_limit)


@dataclass(frozen=True, slots=True)
class Role:
    """A role; the one whose id is the server's own is everybody's. `permissions` is a decimal bit string."""

    id: int
    guild_id: int
    name: str
    permissions: str
    color: int = 0
    position: int = 1
    kind: str = ""
    """`bot` for the role that came with the bot, `booster` for the one of server boosters."""


@dataclass(frozen=True, slots=True)
class Member:
    """A user's membership of one server."""

    id: int
    guild_id: int
    user_id: int
    roles: list[int]


@dataclass(frozen=True, slots=True)
class Overwrite:
    """What a channel grants and denies one role or member."""

    id: int
    allow: int
    deny: int
    of_member: bool = False


@dataclass(frozen=True, slots=True)
class Channel:
    """A text channel. `overwrites` are rows of (id, allow, deny, of_member)."""

    id: int
    guild_id: int
    name: str
    topic: str
    position: int
    overwrites: list[list[int]] = field(default_factory=list[list[int]])
    bot_bits: list[int] = field(default_factory=list[int])
    """Set by the test controls: (bot's user id, the exact bits it has here), or nothing."""

    @property
    def all_overwrites(self) -> list[Overwrite]:
        rows = [Overwrite(row[0], row[1], row[2], of_member=bool(row[3])) for row in self.overwrites]
        if self.bot_bits:
            user_id, bits = self.bot_bits
            rows = [row for row in rows if row.id != user_id]
            rows.append(Overwrite(user_id, bits, ~bits & (1 << 53) - 1, of_member=True))
        return rows


@dataclass(frozen=True, slots=True)
class Attachment:
    """A stored file. `message_id` is 0 for an upload that no message holds; sizes are bytes and pixels."""

    id: int
    channel_id: int
    message_id: int
    owner_id: int
    filename: str
    size: int
    content_type: str
    width: int | None = None
    height: int | None = None
    description: str | None = None
    ephemeral: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A message. `only_for` is the one member who sees an ephemeral one, 0 for a message that all see."""

    id: int
    channel_id: int
    guild_id: int
    author_id: int
    type: int = MessageType.DEFAULT
    content: str = ""
    attachments: list[int] = field(default_factory=list[int])
    embeds: list[Json] = field(default_factory=list[Json])
    components: list[Json] = field(default_factory=list[Json])
    mentions: list[int] = field(default_factory=list[int])
    mention_roles: list[int] = field(default_factory=list[int])
    mention_everyone: bool = False
    flags: int = 0
    edited_at: float | None = None
    reference: int | None = None
    nonce: str | int | None = None
    interaction_id: int | None = None
    only_for: int = 0

    @property
    def loading(self) -> bool:
        return bool(self.flags & MessageFlag.LOADING)


@dataclass(frozen=True, slots=True)
class Command:
    """An application command; `guild_id` is 0 for a global one. `body` is what the application described."""

    id: int
    guild_id: int
    type: int
    name: str
    version: int
    body: Json


@dataclass(frozen=True, slots=True)
class Interaction:
    """Something that a member did and the application answers.

    `original` is the message that `@original` means, `messages` all that this token made; `parent` is the
    interaction whose modal this one submits. `answered_with` is the callback's type, 0 before it came; `answer` is
    the modal or the choices that it brought.
    """

    id: int
    token: str
    type: int
    guild_id: int
    channel_id: int
    user_id: int
    data: Json
    command_name: str = ""
    message_id: int | None = None
    parent: int | None = None
    answered_with: int = 0
    original: int | None = None
    messages: list[int] = field(default_factory=list[int])
    answer: Json | None = None
