"""The two roads of an interaction's answers: the callback, and the webhook that its token opens."""

from aiohttp import web

from sandbox import refusals
from sandbox.drafts import EDITABLE, read_draft
from sandbox.fields import Fields
from sandbox.forms import read_form
from sandbox.interactions import ANSWERABLE, Callback, by_token, follow_up, respond
from sandbox.posting import delete, edit, files_of
from sandbox.records import Channel, Interaction, Json, Message, MessageFlag
from sandbox.replies import reply
from sandbox.rest.places import number
from sandbox.wire_messages import message
from sandbox.world import World


class Interactions:
    """Routes that need no bot token: the interaction's own token is the key."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        webhook = "/webhooks/{webhook_id}/{webhook_token}"
        routes = [
            web.post("/interactions/{interaction_id}/{interaction_token}/callback", self.callback),
            web.post(webhook, self.follow_up),
        ]
        for which in ("/messages/@original", "/messages/{message_id}"):
            routes += [
                web.get(webhook + which, self.get),
                web.patch(webhook + which, self.edit),
                web.delete(webhook + which, self.delete),
            ]
        return routes

    async def callback(self, request: web.Request) -> web.Response:
        world = self._world
        interaction = world.store.interactions.get(number(request, "interaction_id"))
        if interaction is None:
            raise refusals.unknown_interaction()
        limit = world.guild(interaction.guild_id).interaction_limit
        with await read_form(request, world.store.files, limit) as form:
            token = request.match_info["interaction_token"]
            interaction, answer = respond(world, interaction.id, token, form)
        if request.query.get("with_response", "").lower() not in {"1", "true"}:
            return web.Response(status=204)
        return reply(self._report(interaction, answer))

    async def follow_up(self, request: web.Request) -> web.Response:
        world = self._world
        interaction, channel = self._open(request)
        limit = world.guild(interaction.guild_id).interaction_limit
        with await read_form(request, world.store.files, limit) as form:
            draft = read_draft(Fields(form.payload), form.files, flags_allowed=ANSWERABLE)
            interaction, channel = self._open(request)
            made = follow_up(world, interaction, draft, channel)
        return reply(message(world, made, for_bot=True))

    async def get(self, request: web.Request) -> web.Response:
        interaction, _ = self._open(request)
        return reply(message(self._world, self._message(request, interaction), for_bot=True))

    async def edit(self, request: web.Request) -> web.Response:
        world = self._world
        interaction, channel = self._open(request)
        self._message(request, interaction)
        limit = world.guild(interaction.guild_id).interaction_limit
        with await read_form(request, world.store.files, limit) as form:
            # Read again: while the files came in, the message may have changed or gone.
            found = self._message(request, interaction)
            draft = read_draft(
                Fields(form.payload),
                form.files,
                flags_allowed=EDITABLE,
                before=found,
                attachments_before=files_of(world, found),
            )
            changed = edit(world, found, draft, channel)
        return reply(message(world, changed, for_bot=True))

    async def delete(self, request: web.Request) -> web.Response:
        interaction, _ = self._open(request)
        delete(self._world, self._message(request, interaction))
        return web.Response(status=204)

    def _open(self, request: web.Request) -> tuple[Interaction, Channel]:
        """The interaction whose token a path carries, and its channel."""
        if number(request, "webhook_id") != self._world.app.id:
            raise refusals.unknown_webhook()
        interaction = by_token(self._world, request.match_info["webhook_token"])
        channel = self._world.store.channels.get(interaction.channel_id)
        if channel is None:
            raise refusals.unknown_channel()
        return interaction, channel

    def _message(self, request: web.Request, interaction: Interaction) -> Message:
        """The message of a path, if it is one that this interaction made, or whose component was used."""
        asked = interaction.original if "message_id" not in request.match_info else number(request, "message_id")
        if asked is None or asked not in {interaction.original, interaction.message_id, *interaction.messages}:
            raise refusals.unknown_message()
        found = self._world.store.messages.get(asked)
        if found is None or found.author_id != self._world.bot.id:
            raise refusals.unknown_message()
        return found

    def _report(self, interaction: Interaction, answer: Message | None) -> Json:
        """What `with_response` tells: the interaction, and the message that the answer made or changed."""
        told: Json = {
            "id": str(interaction.id),
            "type": interaction.type,
            "channel_id": str(interaction.channel_id),
            "guild_id": str(interaction.guild_id),
        }
        report: Json = {"interaction": told}
        if answer is not None:
            told["response_message_id"] = str(answer.id)
            told["response_message_loading"] = answer.loading
            told["response_message_ephemeral"] = bool(answer.flags & MessageFlag.EPHEMERAL)
        if answer is not None and interaction.answered_with in {Callback.MESSAGE, Callback.UPDATE}:
            shown = message(self._world, answer, for_bot=True)
            report["resource"] = {"type": interaction.answered_with, "message": shown}
        return report
