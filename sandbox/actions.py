"""What a member does that the application answers: commands, typing into them, buttons and menus, modals."""

import asyncio

from sandbox.answers import Resolver, focused, read_answers
from sandbox.commands import offered
from sandbox.components import ENTITY_SELECTS, SELECTS, by_custom_id
from sandbox.events import Event, InteractionChanged
from sandbox.fields import Fields
from sandbox.interactions import NO_RESPONSE, Callback, make
from sandbox.modals import fill
from sandbox.permissions import Permission
from sandbox.records import (
    Channel,
    Command,
    CommandType,
    Interaction,
    InteractionType,
    Json,
    Message,
    User,
)
from sandbox.refusals import SentenceError
from sandbox.wire_messages import target_message
from sandbox.world import World


class Actions:
    """Each action checks what a Discord client would check, and makes an interaction of it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def command(self, me: User, channel: Channel, fields: Fields) -> Interaction:
        """A command with its options, or on a message or a user. Raises `SentenceError`."""
        command = self._offered(me, channel, fields)
        resolver = Resolver(self._world, channel.guild_id, me.id)
        data = self._head(command)
        target: Message | None = None
        if command.type == CommandType.SLASH:
            given = fields.objects("options", most=25)
            fields.problems.check()
            data["options"] = read_answers(command.body.get("options"), given, resolver)
            data["resolved"] = resolver.found
        elif command.type == CommandType.MESSAGE:
            target = self._target(me, channel, fields)
            data["target_id"] = str(target.id)
            data["resolved"] = {"messages": {str(target.id): target_message(self._world, target)}}
        else:
            if not resolver.user(fields.given.get("target_id")):
                raise SentenceError("That member is not in this server.", 404)
            data["target_id"] = str(fields.given["target_id"])
            data["resolved"] = resolver.found
        if not data["resolved"]:
            del data["resolved"]
        message_id = None if target is None else target.id
        return make(
            self._world,
            InteractionType.COMMAND,
            me.id,
            channel,
            data,
            command_name=" ".join([command.name, *_subcommands(data.get("options"))]),
            message_id=message_id,
        )

    async def autocomplete(self, me: User, channel: Channel, fields: Fields) -> list[Json]:
        """The application's suggestions for the option in which a member types. Raises `SentenceError`."""
        command = self._offered(me, channel, fields)
        resolver = Resolver(self._world, channel.guild_id, me.id)
        given = fields.objects("options", most=25)
        options = read_answers(command.body.get("options"), given, resolver, complete=False)
        if focused(options) is None:
            raise SentenceError("Say which option is being typed: “focused”.")
        data = self._head(command) | {"options": options}
        answered = asyncio.get_running_loop().create_future()

        def hear(event: Event) -> None:
            if isinstance(event, InteractionChanged) and event.interaction.id == made.id and not answered.done():
                answered.set_result(event.interaction)

        stop = self._world.events.listen(hear)
        try:
            made = make(self._world, InteractionType.AUTOCOMPLETE, me.id, channel, data, command_name=command.name)
            interaction: Interaction = await answered
        finally:
            stop()
        choices = None if interaction.answer is None else interaction.answer.get("choices")
        if not isinstance(choices, list):
            raise SentenceError(NO_RESPONSE, 504)
        return choices

    def component(self, me: User, channel: Channel, message: Message, fields: Fields) -> Interaction:
        """A button pressed or a menu chosen from. Raises `SentenceError`."""
        custom_id = fields.text("custom_id", most=100) or ""
        component = by_custom_id(message.components, custom_id)
        if component is None:
            raise SentenceError("This message has no such button or menu.", 404)
        if component.get("disabled"):
            raise SentenceError("This button or menu is switched off.")
        data: Json = {"custom_id": custom_id, "component_type": component["type"], "id": component["id"]}
        if component["type"] in SELECTS:
            resolver = Resolver(self._world, channel.guild_id, me.id)
            data["values"] = _chosen(component, fields.given.get("values"), resolver)
            if component["type"] in ENTITY_SELECTS:
                data["resolved"] = resolver.found
        return make(self._world, InteractionType.COMPONENT, me.id, channel, data, message_id=message.id)

    def modal(self, me: User, channel: Channel, opened: Interaction, fields: Fields) -> Interaction:
        """A modal sent off. `opened` is the interaction that it answered. Raises `SentenceError`."""
        modal = opened.answer
        if opened.answered_with != Callback.MODAL or modal is None:
            raise SentenceError("That interaction has no open form.")
        values = fields.given.get("values")
        filled = fill(modal, values if isinstance(values, dict) else {})
        resolver = Resolver(self._world, channel.guild_id, me.id)
        if not all(resolver.upload(one) for one in filled.uploads):
            raise SentenceError("That file is not among your uploads.", 404)
        data: Json = {"custom_id": modal["custom_id"], "components": filled.components, "resolved": resolver.found}
        source = opened.message_id if opened.type == InteractionType.COMPONENT else None
        return make(self._world, InteractionType.MODAL, me.id, channel, data, message_id=source, parent=opened.id)

    def _offered(self, me: User, channel: Channel, fields: Fields) -> Command:
        if not self._world.may(me.id, channel, Permission.USE_APPLICATION_COMMANDS):
            raise SentenceError("You cannot use commands in this channel.", 403)
        wanted = str(fields.given.get("command_id"))
        found = next((one for one in offered(self._world, me.id, channel.guild_id) if str(one.id) == wanted), None)
        if found is None:
            raise SentenceError("There is no such command for you here.", 404)
        return found

    def _target(self, me: User, channel: Channel, fields: Fields) -> Message:
        found = self._world.store.messages.get(fields.snowflake("target_id") or 0)
        if found is None or found.channel_id != channel.id or not self._world.sees(me.id, found):
            raise SentenceError("That message is gone.", 404)
        return found

    def _head(self, command: Command) -> Json:
        head: Json = {"id": str(command.id), "name": command.name, "type": command.type}
        return head | ({"guild_id": str(command.guild_id)} if command.guild_id else {})


def _subcommands(options: object) -> list[str]:
    """The names of the subcommand and its group among filled-in options, outermost first."""
    first: object = options[0] if isinstance(options, list) and options else None
    if not isinstance(first, dict) or first.get("type") not in {1, 2}:
        return []
    return [str(first["name"]), *_subcommands(first.get("options"))]


def _chosen(component: Json, given: object, resolver: Resolver) -> list[str]:
    """The values chosen in a select: as many as it takes, all of them its own."""
    values = [str(one) for one in given] if isinstance(given, list) else []
    least, most = component.get("min_values"), component.get("max_values")
    if not isinstance(least, int) or not isinstance(most, int) or not least <= len(set(values)) <= most:
        raise SentenceError(f"This menu takes {least} to {most} choices.")
    options = component.get("options")
    if isinstance(options, list):
        known = all(value in {one["value"] for one in options} for value in values)
    else:
        resolve = {5: resolver.user, 6: resolver.role, 8: resolver.channel}
        either = lambda one: resolver.user(one) or resolver.role(one)  # noqa: E731
        known = all(resolve.get(int(str(component["type"])), either)(value) for value in values)
    if not known:
        raise SentenceError("This menu has no such choice.")
    return values
