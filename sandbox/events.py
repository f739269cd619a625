"""What happens in the world, told to whoever listens: the gateway's sessions and the members' pages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sandbox.records import Channel, Guild, Interaction, Message


@dataclass(frozen=True, slots=True)
class MessageCreated:
    message: Message


@dataclass(frozen=True, slots=True)
class MessageUpdated:
    message: Message


@dataclass(frozen=True, slots=True)
class MessageDeleted:
    message: Message


@dataclass(frozen=True, slots=True)
class Typing:
    channel: Channel
    user_id: int


@dataclass(frozen=True, slots=True)
class InteractionMade:
    """A member did something: the application is to hear of it."""

    interaction: Interaction


@dataclass(frozen=True, slots=True)
class InteractionChanged:
    """The application answered, or the time for it ran out: the member is to hear of it."""

    interaction: Interaction


@dataclass(frozen=True, slots=True)
class ChannelUpdated:
    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelDeleted:
    channel: Channel


@dataclass(frozen=True, slots=True)
class GuildUpdated:
    guild: Guild


@dataclass(frozen=True, slots=True)
class WorldChanged:
    """Commands, or whether the application is online."""


Event: TypeAlias = (
    MessageCreated
    | MessageUpdated
    | MessageDeleted
    | Typing
    | InteractionMade
    | InteractionChanged
    | ChannelUpdated
    | ChannelDeleted
    | GuildUpdated
    | WorldChanged
)


class Events:
    """Calls every listener with every event, in order, at once. A listener only queues; it never waits."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Adds a listener; calling what comes back removes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def publish(self, *events: Event) -> None:
        for event in events:
            for listener in tuple(self._listeners):
                listener(event)
