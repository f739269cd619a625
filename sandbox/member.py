"""The members' API: everything that a person does in the page, and that a test does in a person's place."""

from itertools import islice
from typing import assert_never

from aiohttp import BodyPartReader, WSMsgType, web

from sandbox import events, media, wire
from sandbox.actions import Actions
from sandbox.commands import offered
from sandbox.drafts import MOST_LETTERS, clean_name
from sandbox.events import Event
from sandbox.fields import Fields
from sandbox.forms import save_part
from sandbox.interactions import NO_RESPONSE, state_of
from sandbox.outbox import Outbox
from sandbox.permissions import Permission
from sandbox.posting import delete, post_as_member
from sandbox.records import MIB, Attachment, Channel, Guild, Interaction, InteractionState, Json, Message, User
from sandbox.refusals import SentenceError
from sandbox.sentences import read_fields
from sandbox.snowflakes import iso
from sandbox.wire_messages import attachment, message
from sandbox.world import World

MOST_UPLOAD = 100 * MIB
MOST_LISTED = 100


class Members:
    """Routes under `/member`; the acting member is the query's `as`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._actions = Actions(world)
        self._sockets: set[web.WebSocketResponse] = set()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/world", self.world),
            web.get("/events", self.events),
            web.get("/channels/{channel_id}/messages", self.messages),
            web.post("/attachments", self.upload),
            web.post("/messages", self.write),
            web.delete("/messages/{channel_id}/{message_id}", self.delete),
            web.post("/commands", self.command),
            web.post("/autocomplete", self.autocomplete),
            web.post("/components", self.component),
            web.post("/modals", self.modal),
            web.get("/interactions/{interaction_id}", self.interaction),
        ]

    async def close(self) -> None:
        for socket in tuple(self._sockets):
            await socket.close(code=1001)

    async def world(self, request: web.Request) -> web.Response:
        world = self._world
        # A page that opens for the first time knows no member yet: it gets the first one.
        people = (one for one in world.store.users.under(0) if not one.bot)
        me = self._me(request) if "as" in request.query else next(people)
        app: Json = {"id": str(world.app.id), "name": world.app.name, "online": world.online}
        homes = [guild for guild in world.guilds() if world.member(guild.id, me.id) is not None]
        return web.json_response(
            {
                "me": _user(me),
                "app": app,
                "users": [_user(one) for one in world.store.users.under(0)],
                "guilds": [self._guild(one, me) for one in homes],
                "now": iso(world.clock()),
            }
        )

    async def messages(self, request: web.Request) -> web.Response:
        me = self._me(request)
        channel = self._channel(me, request.match_info["channel_id"])
        query = Fields(dict(request.query))
        limit = query.integer("limit", least=1, most=MOST_LISTED) or 50
        before = query.snowflake("before") or 2**63 - 1
        query.problems.check()
        listed = self._world.store.messages.before(channel.id, before)
        shown = [*islice((one for one in listed if one.only_for in {0, me.id}), limit)]
        return web.json_response([self._message(one) for one in reversed(shown)])

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Tells a member's page what happens, until it goes."""
        me = self._me(request)
        socket = web.WebSocketResponse(heartbeat=30)
        await socket.prepare(request)
        self._sockets.add(socket)
        queue = Outbox(socket)
        stop = self._world.events.listen(lambda event: queue.put(self._told(me, event)))
        try:
            async for received in socket:
                if received.type is WSMsgType.ERROR:
                    break
        finally:
            stop()
            queue.close()
            self._sockets.discard(socket)
        return socket

    async def upload(self, request: web.Request) -> web.Response:
        """Takes one file; it waits for the message or command that will hold it."""
        world, me = self._world, self._me(request)
        part = await (await request.multipart()).next()
        if not isinstance(part, BodyPartReader) or part.name != "file":
            raise SentenceError("Send one file, in a field called “file”.")
        saved = await save_part(part, world.store.files, MOST_UPLOAD)
        if saved.size > MOST_UPLOAD:
            saved.path.unlink()
            raise SentenceError(f"A file may be {MOST_UPLOAD // MIB} MiB large.", 413)
        attachment_id = world.ids.next()
        path = saved.path.replace(world.store.path_of(attachment_id))
        name = clean_name(saved.filename)
        width, height = media.dimensions_of(path) or (None, None)
        kept = world.store.attachments.put(
            Attachment(attachment_id, 0, 0, me.id, name, saved.size, media.type_of(name), width, height)
        )
        shown = attachment(world, kept)
        told = {"upload_id": str(kept.id), "url": shown["url"], "width": width, "height": height}
        return web.json_response(
            told | {"filename": kept.filename, "size": kept.size, "content_type": kept.content_type}
        )

    async def write(self, request: web.Request) -> web.Response:
        world, me = self._world, self._me(request)
        fields = await read_fields(request)
        channel = self._channel(me, fields.given.get("channel_id"))
        content = fields.text("content", most=MOST_LETTERS) or ""
        reply_to = fields.snowflake("reply_to")
        uploads = [self._upload(me, one) for one in fields.snowflakes("attachments", most=10)]
        fields.problems.check()
        if not world.may(me.id, channel, Permission.SEND_MESSAGES):
            raise SentenceError("You cannot write in this channel.", 403)
        if not content.strip() and not uploads:
            raise SentenceError("A message needs words or a file.")
        replied = None if reply_to is None else self._visible(me, channel.id, reply_to)
        made = post_as_member(world, channel, me.id, content, uploads, replied)
        return web.json_response(self._message(made))

    async def delete(self, request: web.Request) -> web.Response:
        world, me = self._world, self._me(request)
        channel = self._channel(me, request.match_info["channel_id"])
        found = self._visible(me, channel.id, request.match_info["message_id"])
        own = me.id in {found.author_id, found.only_for}
        if not own and not world.may(me.id, channel, Permission.MANAGE_MESSAGES):
            raise SentenceError("Only its author or a moderator can delete this message.", 403)
        delete(world, found)
        return web.Response(status=204)

    async def command(self, request: web.Request) -> web.Response:
        me, fields = self._me(request), await read_fields(request)
        channel = self._channel(me, fields.given.get("channel_id"))
        return _made(self._actions.command(me, channel, fields))

    async def autocomplete(self, request: web.Request) -> web.Response:
        me, fields = self._me(request), await read_fields(request)
        channel = self._channel(me, fields.given.get("channel_id"))
        return web.json_response({"choices": await self._actions.autocomplete(me, channel, fields)})

    async def component(self, request: web.Request) -> web.Response:
        me, fields = self._me(request), await read_fields(request)
        channel = self._channel(me, fields.given.get("channel_id"))
        found = self._visible(me, channel.id, fields.given.get("message_id"))
        return _made(self._actions.component(me, channel, found, fields))

    async def modal(self, request: web.Request) -> web.Response:
        me, fields = self._me(request), await read_fields(request)
        opened = self._interaction_of(me, fields.given.get("interaction_id"))
        channel = self._channel(me, opened.channel_id)
        return _made(self._actions.modal(me, channel, opened, fields))

    async def interaction(self, request: web.Request) -> web.Response:
        me = self._me(request)
        one = self._interaction_of(me, request.match_info["interaction_id"])
        made = (self._world.store.messages.get(each) for each in one.messages)
        shown = [self._message(each) for each in made if each is not None]
        state = {name: value for name, value in self._state(one).items() if name != "type"}
        return web.json_response({"error": None, "modal": None} | state | {"messages": shown})

    def _state(self, one: Interaction) -> Json:
        state = state_of(self._world, one)
        told: Json = {"type": "interaction", "interaction_id": str(one.id), "state": state}
        if state is InteractionState.FAILED:
            told["error"] = NO_RESPONSE
        if state is InteractionState.MODAL and one.answer is not None:
            told["modal"] = {"interaction_id": str(one.id)} | one.answer
        return told

    def _told(self, me: User, event: Event) -> Json | None:  # noqa: PLR0911 - one answer an event
        """An event as one member's page hears it; None where it is not theirs to hear."""
        world = self._world
        match event:
            case events.MessageCreated(one):
                return {"type": "message.create", "message": self._message(one)} if world.sees(me.id, one) else None
            case events.MessageUpdated(one):
                return {"type": "message.update", "message": self._message(one)} if world.sees(me.id, one) else None
            case events.MessageDeleted(one):
                gone: Json = {"type": "message.delete", "channel_id": str(one.channel_id), "message_id": str(one.id)}
                return gone if world.sees(me.id, one) else None
            case events.Typing(channel, user_id):
                typing: Json = {"type": "typing", "channel_id": str(channel.id), "user_id": str(user_id)}
                return typing if world.may(me.id, channel, Permission.VIEW_CHANNEL) and user_id != me.id else None
            case events.InteractionChanged(one):
                return self._state(one) if one.user_id == me.id else None
            case events.InteractionMade():
                return None
            case events.WorldChanged() | events.ChannelUpdated() | events.ChannelDeleted() | events.GuildUpdated():
                return {"type": "world"}
            case _:
                assert_never(event)

    def _message(self, one: Message) -> Json:
        return message(self._world, one, for_bot=False) | {"ephemeral": one.only_for != 0}

    def _guild(self, guild: Guild, me: User) -> Json:
        world = self._world
        channels = [
            {"id": str(one.id), "name": one.name, "topic": one.topic}
            for one in sorted(world.store.channels.under(guild.id), key=lambda one: one.position)
            if world.may(me.id, one, Permission.VIEW_CHANNEL)
        ]
        members = [
            {
                "user_id": str(one.user_id),
                "roles": [str(role) for role in one.roles],
                "moderator": bool(world.guild_permissions(one.user_id, guild.id) & Permission.MANAGE_GUILD),
            }
            for one in world.store.members.under(guild.id)
        ]
        roles = [
            {"id": str(one.id), "name": one.name, "color": f"#{one.color:06x}"}
            for one in world.roles(guild.id)
            if one.id != guild.id
        ]
        return {
            "id": str(guild.id),
            "name": guild.name,
            "channels": channels,
            "roles": roles,
            "members": members,
            "commands": [wire.command(one, world.app.id) for one in offered(world, me.id, guild.id)],
        }

    def _me(self, request: web.Request) -> User:
        given = request.query.get("as", "")
        me = self._world.store.users.get(int(given)) if given.isdigit() else None
        if me is None or me.bot:
            raise SentenceError("Say who acts: ?as= and a member's id.", 401)
        return me

    def _channel(self, me: User, given: object) -> Channel:
        found = self._world.store.channels.get(int(str(given))) if str(given).isdigit() else None
        if found is None or not self._world.may(me.id, found, Permission.VIEW_CHANNEL):
            raise SentenceError("There is no such channel for you.", 404)
        return found

    def _visible(self, me: User, channel_id: int, given: object) -> Message:
        found = self._world.store.messages.get(int(str(given))) if str(given).isdigit() else None
        if found is None or found.channel_id != channel_id or not self._world.sees(me.id, found):
            raise SentenceError("That message is gone.", 404)
        return found

    def _upload(self, me: User, upload_id: int) -> Attachment:
        found = self._world.store.attachments.get(upload_id)
        if found is None or found.message_id or found.owner_id != me.id:
            raise SentenceError("That file is not among your uploads.", 404)
        return found

    def _interaction_of(self, me: User, given: object) -> Interaction:
        found = self._world.store.interactions.get(int(str(given))) if str(given).isdigit() else None
        if found is None or found.user_id != me.id:
            raise SentenceError("There is no such interaction of yours.", 404)
        return found


def _made(interaction: Interaction) -> web.Response:
    return web.json_response({"interaction_id": str(interaction.id)})


def _user(one: User) -> Json:
    return {
        "id": str(one.id),
        "username": one.username,
        "display_name": one.display_name,
        "color": one.color,
        "bot": one.bot,
    }
