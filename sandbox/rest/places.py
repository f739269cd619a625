"""The application, its users, servers, members, roles and channels: all that is only read."""

from aiohttp import web

from sandbox import refusals, wire
from sandbox.permissions import Permission
from sandbox.records import Channel, Guild, Json
from sandbox.replies import reply
from sandbox.world import World


class Places:
    """GET routes for everything but messages and commands."""

    def __init__(self, world: World, shards: int) -> None:
        self._world = world
        self._shards = shards

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/gateway", self.gateway),
            web.get("/gateway/bot", self.gateway_bot),
            web.get("/users/@me", self.me),
            web.get("/users/@me/guilds", self.my_guilds),
            web.get("/users/{user_id}", self.user),
            web.get("/oauth2/applications/@me", self.application),
            web.get("/applications/@me", self.application),
            web.get("/guilds/{guild_id}", self.guild),
            web.get("/guilds/{guild_id}/channels", self.channels),
            web.get("/guilds/{guild_id}/roles", self.roles),
            web.get("/guilds/{guild_id}/members", self.members),
            web.get("/guilds/{guild_id}/members/{user_id}", self.member),
            web.get("/channels/{channel_id}", self.channel),
        ]

    async def gateway(self, _: web.Request) -> web.Response:
        return reply({"url": self._gateway_address()})

    async def gateway_bot(self, _: web.Request) -> web.Response:
        limits = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
        body: Json = {"url": self._gateway_address(), "shards": self._shards, "session_start_limit": limits}
        return reply(body)

    async def me(self, _: web.Request) -> web.Response:
        extra = {"mfa_enabled": False, "locale": "en-US", "verified": True, "email": None, "premium_type": 0}
        return reply(wire.user(self._world.bot) | extra)

    async def my_guilds(self, _: web.Request) -> web.Response:
        listed = [
            {
                "id": str(guild.id),
                "name": guild.name,
                "icon": None,
                "banner": None,
                "owner": False,
                "permissions": str(self._world.guild_permissions(self._world.bot.id, guild.id)),
                "features": [],
            }
            for guild in self._world.guilds()
        ]
        return reply(listed)

    async def user(self, request: web.Request) -> web.Response:
        user = self._world.store.users.get(number(request, "user_id"))
        if user is None:
            raise refusals.unknown_user()
        return reply(wire.user(user))

    async def application(self, _: web.Request) -> web.Response:
        world = self._world
        owner = world.user(world.app.owner_id)
        return reply(wire.application(world.app, world.bot, owner, len(world.guilds())))

    async def guild(self, request: web.Request) -> web.Response:
        guild = self._guild(request)
        counts: Json = {}
        if request.query.get("with_counts", "").lower() in {"true", "1"}:
            count = len(self._world.store.members.under(guild.id))
            counts = {"approximate_member_count": count, "approximate_presence_count": count}
        shown = wire.guild(guild, self._world.roles(guild.id), self._world.bot.id)
        return reply(shown | counts)

    async def channels(self, request: web.Request) -> web.Response:
        listed = self._world.store.channels.under(self._guild(request).id)
        return reply([wire.channel(channel) for channel in listed])

    async def roles(self, request: web.Request) -> web.Response:
        listed = self._world.roles(self._guild(request).id)
        return reply([wire.role(role, self._world.bot.id) for role in listed])

    async def members(self, request: web.Request) -> web.Response:
        # Listing members takes the privileged members intent, which this application does not have.
        self._guild(request)
        raise refusals.missing_access()

    async def member(self, request: web.Request) -> web.Response:
        member = self._world.member(self._guild(request).id, number(request, "user_id"))
        if member is None:
            raise refusals.unknown_member()
        return reply(wire.member(member, self._world.user(member.user_id)))

    async def channel(self, request: web.Request) -> web.Response:
        return reply(wire.channel(visible_channel(self._world, request)))

    def _guild(self, request: web.Request) -> Guild:
        guild = self._world.store.guilds.get(number(request, "guild_id"))
        if guild is None:
            raise refusals.unknown_guild()
        return guild

    def _gateway_address(self) -> str:
        return f"{self._world.address.replace('http', 'ws', 1)}/gateway"


def visible_channel(world: World, request: web.Request) -> Channel:
    """The channel of a path, if it is there and the bot sees it."""
    channel = world.store.channels.get(number(request, "channel_id"))
    if channel is None:
        raise refusals.unknown_channel()
    if not world.may(world.bot.id, channel, Permission.VIEW_CHANNEL):
        raise refusals.missing_access()
    return channel


def number(request: web.Request, name: str) -> int:
    """An id of a path; 0, which nothing has, where it is no number."""
    text = request.match_info[name]
    return int(text) if text.isdigit() else 0
