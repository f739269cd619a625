"""Application commands: the global ones and each server's own, listed, replaced in bulk, and one by one."""

from dataclasses import replace

from aiohttp import web

from sandbox import refusals, wire
from sandbox.commands import check_counts, read_command
from sandbox.events import WorldChanged
from sandbox.fields import Fields, Problems
from sandbox.forms import as_object, read_json
from sandbox.records import Command, CommandType, Json
from sandbox.refusals import bad_json
from sandbox.replies import reply
from sandbox.rest.places import number
from sandbox.world import World


class Commands:
    """Routes under `/applications/{application_id}`. Commands are known by type and name: sent again, they keep ids."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        routes: list[web.RouteDef] = []
        for place in ("", "/guilds/{guild_id}"):
            every = "/applications/{application_id}" + place + "/commands"
            one = every + "/{command_id}"
            routes += [
                web.get(every, self.list),
                web.put(every, self.replace_all),
                web.post(every, self.create),
                web.get(one, self.get),
                web.patch(one, self.change),
                web.delete(one, self.delete),
            ]
        return routes

    async def list(self, request: web.Request) -> web.Response:
        return self._answer(self._world.store.commands.under(self._place(request)))

    async def replace_all(self, request: web.Request) -> web.Response:
        place = self._place(request)
        listed = await read_json(request)
        if not isinstance(listed, list):
            raise bad_json()
        problems = Problems()
        commands: list[Command] = []
        for index, each in enumerate(listed):
            fields = Fields(as_object(each), problems, (str(index),))
            kind, name, body = read_command(fields)
            if any((one.type, one.name) == (kind, name) for one in commands):
                sentence = "Application command names must be unique"
                fields.wrong("name", "APPLICATION_COMMANDS_DUPLICATE_NAME", sentence)
            commands.append(self._command(place, kind, name, body))
        problems.check()
        check_counts(commands)
        kept = {one.id for one in commands}
        store = self._world.store
        with store.transaction():
            for old in store.commands.under(place):
                if old.id not in kept:
                    store.commands.delete(old.id)
            for one in commands:
                store.commands.put(one)
        self._world.events.publish(WorldChanged())
        return self._answer(commands)

    async def create(self, request: web.Request) -> web.Response:
        place = self._place(request)
        payload = as_object(await read_json(request))
        command = self._read(place, payload)
        before = self._world.store.commands.get(command.id)
        others = [one for one in self._world.store.commands.under(place) if one.id != command.id]
        check_counts([*others, command])
        self._keep(command)
        return reply(wire.command(command, self._world.app.id), status=201 if before is None else 200)

    async def get(self, request: web.Request) -> web.Response:
        return reply(wire.command(self._one(request), self._world.app.id))

    async def change(self, request: web.Request) -> web.Response:
        before = self._one(request)
        payload = as_object(await read_json(request))
        whole: Json = {"type": before.type, "name": before.name, **before.body} | payload
        if before.type != CommandType.SLASH:
            whole = {name: value for name, value in whole.items() if name not in {"description", "options"}}
        after = replace(self._read(before.guild_id, whole), id=before.id)
        self._keep(after)
        return reply(wire.command(after, self._world.app.id))

    async def delete(self, request: web.Request) -> web.Response:
        self._world.store.commands.delete(self._one(request).id)
        self._world.events.publish(WorldChanged())
        return web.Response(status=204)

    def _read(self, place: int, payload: Json) -> Command:
        fields = Fields(payload)
        kind, name, body = read_command(fields)
        fields.problems.check()
        return self._command(place, kind, name, body)

    def _command(self, place: int, kind: CommandType, name: str, body: Json) -> Command:
        """A command as it is kept: under the id that its name has already, with a new version if it differs."""
        known = self._world.store.commands.under(place)
        before = next((one for one in known if (one.type, one.name) == (kind, name)), None)
        if before is not None:
            return before if before.body == body else replace(before, body=body, version=self._world.ids.next())
        return Command(self._world.ids.next(), place, kind, name, self._world.ids.next(), body)

    def _keep(self, command: Command) -> None:
        self._world.store.commands.put(command)
        self._world.events.publish(WorldChanged())

    def _one(self, request: web.Request) -> Command:
        found = self._world.store.commands.get(number(request, "command_id"))
        if found is None or found.guild_id != self._place(request):
            raise refusals.unknown_command()
        return found

    def _place(self, request: web.Request) -> int:
        """The server of a path, or 0 for the global commands."""
        if number(request, "application_id") != self._world.app.id:
            raise refusals.unknown_application()
        if "guild_id" not in request.match_info:
            return 0
        guild = self._world.store.guilds.get(number(request, "guild_id"))
        if guild is None:
            raise refusals.unknown_guild()
        return guild.id

    def _answer(self, commands: "list[Command]") -> web.Response:
        return reply([wire.command(one, self._world.app.id) for one in commands])
