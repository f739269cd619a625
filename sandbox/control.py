"""The test controls: trouble, time that passes at once, and changes that only a server's owner could make."""

from dataclasses import replace

from aiohttp import web

from sandbox.events import ChannelDeleted, ChannelUpdated, GuildUpdated
from sandbox.faults import Faults
from sandbox.gateway import Gateway
from sandbox.interactions import expire_tokens
from sandbox.posting import delete
from sandbox.record import Record
from sandbox.refusals import SentenceError
from sandbox.rest.places import number
from sandbox.sentences import read_fields
from sandbox.world import World


class Controls:
    """Routes under `/control`."""

    def __init__(self, world: World, gateway: Gateway, faults: Faults, record: Record) -> None:
        self._world = world
        self._gateway = gateway
        self._faults = faults
        self._record = record

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/faults", self.add_fault),
            web.delete("/faults", self.clear_faults),
            web.post("/gateway", self.gateway),
            web.post("/expire", self.expire),
            web.post("/guilds/{guild_id}", self.guild),
            web.post("/channels/{channel_id}", self.channel),
            web.delete("/messages/{channel_id}/{message_id}", self.delete_message),
            web.get("/routes", self.calls),
        ]

    async def add_fault(self, request: web.Request) -> web.Response:
        self._faults.add(await read_fields(request))
        return web.Response(status=204)

    async def clear_faults(self, _: web.Request) -> web.Response:
        self._faults.clear()
        return web.Response(status=204)

    async def gateway(self, request: web.Request) -> web.Response:
        fields = await read_fields(request)
        action = fields.text("action", most=20)
        if action == "drop":
            self._gateway.drop()
        elif action == "reconnect":
            self._gateway.ask_to_reconnect()
        elif action == "invalidate":
            self._gateway.invalidate(resumable=fields.flag("resumable"))
        elif action == "refuse":
            self._gateway.refuse(fields.number("seconds") or 0.0)
        else:
            raise SentenceError("The gateway's actions are drop, reconnect, invalidate and refuse.")
        return web.Response(status=204)

    async def expire(self, request: web.Request) -> web.Response:
        fields = await read_fields(request)
        if fields.flag("attachments"):
            self._world.signer.expire_all()
        if fields.flag("tokens"):
            expire_tokens(self._world)
        return web.Response(status=204)

    async def guild(self, request: web.Request) -> web.Response:
        guild = self._world.store.guilds.get(number(request, "guild_id"))
        if guild is None:
            raise SentenceError("There is no such server.", 404)
        fields = await read_fields(request)
        limit = fields.integer("attachment_limit", least=1) or guild.attachment_limit
        of_members = fields.integer("members_limit") if fields.has("members_limit") else guild.members_limit
        fields.problems.check()
        changed = replace(guild, attachment_limit=limit, members_limit=of_members or 0)
        self._world.events.publish(GuildUpdated(self._world.store.guilds.put(changed)))
        return web.Response(status=204)

    async def channel(self, request: web.Request) -> web.Response:
        world = self._world
        channel = world.store.channels.get(number(request, "channel_id"))
        if channel is None:
            raise SentenceError("There is no such channel.", 404)
        fields = await read_fields(request)
        bits = fields.snowflake("bot_permissions")
        fields.problems.check()
        if fields.flag("deleted"):
            world.store.channels.delete(channel.id)
            world.events.publish(ChannelDeleted(channel))
        elif fields.has("bot_permissions"):
            changed = replace(channel, bot_bits=[] if bits is None else [world.bot.id, bits])
            world.events.publish(ChannelUpdated(world.store.channels.put(changed)))
        return web.Response(status=204)

    async def delete_message(self, request: web.Request) -> web.Response:
        found = self._world.store.messages.get(number(request, "message_id"))
        if found is None or found.channel_id != number(request, "channel_id"):
            raise SentenceError("That message is gone.", 404)
        delete(self._world, found)
        return web.Response(status=204)

    async def calls(self, _: web.Request) -> web.Response:
        return web.json_response({"unknown": dict(self._record.unknown), "calls": dict(self._record.calls)})
