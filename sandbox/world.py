"""The living world: its records, its clock, its events, and who may see and do what in it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox import permissions, seed
from sandbox.events import Events
from sandbox.permissions import Permission
from sandbox.records import App, Channel, Guild, Member, Message, Role, User
from sandbox.signing import Signer
from sandbox.snowflakes import Snowflakes
from sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Times:
    """How long things last, in seconds; Discord's own values unless a test wants them shorter."""

    acknowledgement: float = 3.0
    token: float = 15 * 60.0
    attachment_address: float = 24 * 60 * 60.0
    nonce: float = 3 * 60.0


class World:
    """One Discord with one application. `address` is where it is served, `http://127.0.0.1:8765`."""

    def __init__(self, store: Store, times: Times | None = None, clock: Callable[[], float] = time.time) -> None:
        if not store.apps.under(0):
            seed.plant(store)
        self.store = store
        self.times = times or Times()
        self.clock = clock
        self.events = Events()
        self.ids = Snowflakes(clock, after=store.newest_id())
        self.signer = Signer(store, clock, self.times.attachment_address)
        self.address = ""
        self.token = seed.TOKEN
        self.online = False
        self.app: App = store.apps.under(0)[0]
        self.bot: User = self.user(self.app.id)
        # Deadlines and other small tasks, held so that they are neither collected early nor left behind.
        self.timers: set[asyncio.TimerHandle] = set()

    def user(self, user_id: int) -> User:
        """A user who is known to exist."""
        user = self.store.users.get(user_id)
        if user is None:
            raise KeyError(user_id)
        return user

    def guild(self, guild_id: int) -> Guild:
        """A server that is known to exist."""
        guild = self.store.guilds.get(guild_id)
        if guild is None:
            raise KeyError(guild_id)
        return guild

    def guilds(self) -> list[Guild]:
        return self.store.guilds.under(0)

    def roles(self, guild_id: int) -> list[Role]:
        return self.store.roles.under(guild_id)

    def member(self, guild_id: int, user_id: int) -> Member | None:
        return self.store.members.first(guild_id, "user_id", user_id)

    def guild_permissions(self, user_id: int, guild_id: int) -> int:
        """A user's permission bits in a server; 0 for someone who is not in it."""
        member = self.member(guild_id, user_id)
        return 0 if member is None else permissions.in_guild(self.guild(guild_id), member, self.roles(guild_id))

    def permissions(self, user_id: int, channel: Channel) -> int:
        """A user's permission bits in a channel; 0 for someone who is not in its server."""
        member = self.member(channel.guild_id, user_id)
        if member is None:
            return 0
        return permissions.in_channel(self.guild(channel.guild_id), member, self.roles(channel.guild_id), channel)

    def may(self, user_id: int, channel: Channel, permission: Permission) -> bool:
        return bool(self.permissions(user_id, channel) & permission)

    def sees(self, user_id: int, message: Message) -> bool:
        """Whether a message is on a user's screen."""
        channel = self.store.channels.get(message.channel_id)
        if channel is None or message.only_for not in {0, user_id}:
            return False
        return self.may(user_id, channel, Permission.VIEW_CHANNEL)

    def later(self, delay: float, call: Callable[[], None]) -> None:
        """Calls something after a delay in seconds, unless the world ends before."""

        def run() -> None:
            self.timers.discard(handle)
            call()

        handle = asyncio.get_running_loop().call_later(delay, run)
        self.timers.add(handle)

    def close(self) -> None:
        for handle in self.timers:
            handle.cancel()
        self.timers.clear()
        self.store.close()
