"""One leased delivery: its message is drawn from the request as it is now, brought to the channel, and marked.

Post, then mark: a courier that dies in between leaves `sending` behind, and its follower looks in the channel for its
own buttons before it sends. Discord's nonce covers what is still on its way then.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import discord

from clips import deliveries, queue, requests
from clips.catalog import Catalog
from clips.checkpoints import Checkpoint, Checkpoints
from clips.deliveries import Delivery, DeliveryKind, Posted
from clips.domain import DeliveryId, MessageId, TakeId, TakeState
from clips.errors import ZoetropeError
from clips.postgres import Pool
from clips.requests import WholeRequest
from courier.cards import ReplyState, card
from courier.channel import Channel, Upload
from courier.message import File, Message
from courier.replies import file_of, late_mention, reply
from courier.troubles import is_too_large
from courier.uploads import Uploads, smaller_limit

_SKEW = timedelta(minutes=1)
"""By how much the database's clock may run ahead of Discord's."""
_MOST_REMEMBERED = 1000
_MOST_SIZES = 8
_Sent = TypeVar("_Sent")


class Messenger:
    """Brings leased deliveries up to date. `client` is logged in and may never have connected."""

    def __init__(
        self, pool: Pool, client: discord.Client, catalog: Catalog, uploads: Uploads, checkpoints: Checkpoints
    ) -> None:
        self._pool = pool
        self._client = client
        self._catalog = catalog
        self._uploads = uploads
        self._checkpoints = checkpoints
        self._shown: dict[DeliveryId, tuple[int, Message]] = {}

    async def bring(self, delivery: Delivery) -> None:
        """Have the channel show the request as it is now. Raises what Discord, the network or the stores raise."""
        whole = await requests.read(self._pool, delivery.guild_id, delivery.request_id)
        if whole is None:
            raise LookupError(f"request {delivery.request_id} of delivery {delivery.delivery_id} is gone")
        channel = Channel(self._client, delivery.guild_id, delivery.channel_id)
        message = await self._draw(delivery, whole)
        message_id, mentioned = delivery.message_id, False
        if message_id is None and delivery.sending:
            found = await channel.find(delivery.request_id, delivery.kind, whole.request.created_at - _SKEW)
            if found is not None:
                message_id, mentioned = MessageId(found.id), delivery.kind is DeliveryKind.REPLY
        if message is None:
            if message_id is not None:
                await channel.delete(message_id)
            posted = Posted(message_id=None, attached={}, mentioned=False, closed=whole.ended)
        elif message_id is None:
            sent = await self._send(delivery, whole, message, channel)
            if sent is None:
                return
            posted = _posted(sent, whole, mentioned=message.mention is not None)
        elif message == self._remembered(delivery):
            posted = Posted(message_id=message_id, attached=delivery.attached, mentioned=False, closed=whole.ended)
        else:
            edited = await self._edit(delivery, whole, message, channel, message_id)
            mentioned |= await self._mention_late(delivery, whole, channel, message_id)
            posted = _posted(edited, whole, mentioned=mentioned)
        self._checkpoints.reached(Checkpoint.POSTED_NOT_MARKED)
        await self._mark(delivery, message, posted, channel)

    async def _draw(
        self, delivery: Delivery, whole: WholeRequest, unattached: Mapping[TakeId, str] | None = None
    ) -> Message | None:
        """What the channel should show; None: nothing."""
        model = self._catalog.get(whole.request.spec.model)
        perhaps_there = delivery.message_id is not None or delivery.sending
        if delivery.kind is DeliveryKind.REPLY:
            return reply(whole, model=model, posted=perhaps_there, unattached=unattached)
        if whole.ended and not perhaps_there:
            return None
        place, state = None, ReplyState()
        if not whole.ended:
            # Of a take that runs is told what that one needs, every few seconds; of none in line behind it.
            if not any(take.state is TakeState.RUNNING for take in whole.takes):
                place = await queue.place(self._pool, delivery.request_id)
        else:
            other = await deliveries.standing(self._pool, delivery.guild_id, delivery.request_id, DeliveryKind.REPLY)
            if other is not None:
                state = ReplyState(posted=other.message_id is not None, failure=other.failure, trouble=other.trouble)
        return card(whole, model=model, place=place, reply=state, now=datetime.now(UTC))

    async def _send(
        self, delivery: Delivery, whole: WholeRequest, message: Message, channel: Channel
    ) -> discord.Message | None:
        """None: the lease was lost before anything was sent."""

        async def send(drawn: Message, uploads: list[Upload]) -> discord.Message | None:
            if not await deliveries.begin_sending(self._pool, delivery):
                return None
            return await channel.send(drawn, uploads, _nonce(whole, delivery.kind))

        return await self._with_files(delivery, whole, message, message.files, send)

    async def _edit(
        self, delivery: Delivery, whole: WholeRequest, message: Message, channel: Channel, message_id: MessageId
    ) -> discord.Message:
        if {file.take_id for file in message.files} == set(delivery.attached):
            return await channel.edit(message_id, message, [], None)
        # What the channel has counts, not what we noted of it: an earlier edit may have gone unmarked.
        there = {_name_of(one): one for one in await channel.attachments(message_id)}
        keep = [there[file.name] for file in message.files if file.name in there]
        missing = [file for file in message.files if file.name not in there]

        async def edit(drawn: Message, uploads: list[Upload]) -> discord.Message:
            return await channel.edit(message_id, drawn, uploads, keep)

        return await self._with_files(delivery, whole, message, missing, edit)

    async def _with_files(
        self,
        delivery: Delivery,
        whole: WholeRequest,
        message: Message,
        files: Sequence[File],
        act: Callable[[Message, list[Upload]], Awaitable[_Sent]],
    ) -> _Sent:
        """Act with the files that a message needs, smaller ones as often as Discord finds them too large."""
        limit = await self._uploads.limit(delivery) if files else 0
        for _ in range(_MOST_SIZES):
            with TemporaryDirectory(prefix="zoetrope-post-") as folder:
                prepared = await self._uploads.prepare(delivery, files, limit, Path(folder))
                if prepared.unattached:
                    message = await self._draw(delivery, whole, prepared.unattached) or message
                try:
                    return await act(message, prepared.uploads)
                except discord.HTTPException as error:
                    if not (is_too_large(error) and prepared.uploads):
                        raise
            limit = smaller_limit(prepared.uploads)
            await deliveries.note_limit(self._pool, delivery, limit)
        raise ZoetropeError(f"Discord took no size of these files, down to {limit} bytes.")

    async def _mention_late(
        self, delivery: Delivery, whole: WholeRequest, channel: Channel, message_id: MessageId
    ) -> bool:
        """Mention the member once more where the last take came late; whether that was so."""
        if delivery.kind is not DeliveryKind.REPLY:
            return False
        message = late_mention(whole, delivery.mentioned_at)
        if message is None:
            return False
        if not await channel.has_answered(message_id):
            await channel.answer(message_id, message, _nonce(whole, "late"))
        return True

    async def _mark(self, delivery: Delivery, message: Message | None, posted: Posted, channel: Channel) -> None:
        if await deliveries.mark_posted(self._pool, delivery, posted):
            self._remember(delivery, message, posted)
            return
        # The lease went to another meanwhile, and what that one posted counts. Nothing noted yet: it will find ours.
        if delivery.message_id is None and posted.message_id is not None:
            other = await deliveries.standing(self._pool, delivery.guild_id, delivery.request_id, delivery.kind)
            if other is not None and other.message_id not in {None, posted.message_id}:
                await channel.delete(posted.message_id)

    def _remembered(self, delivery: Delivery) -> Message | None:
        """What the channel shows, if this process was the last to post there."""
        revision, message = self._shown.get(delivery.delivery_id, (None, None))
        return message if revision == delivery.posted_rev else None

    def _remember(self, delivery: Delivery, message: Message | None, posted: Posted) -> None:
        self._shown.pop(delivery.delivery_id, None)
        if message is None or posted.closed:
            return
        self._shown[delivery.delivery_id] = delivery.wanted_rev, message
        if len(self._shown) > _MOST_REMEMBERED:
            del self._shown[next(iter(self._shown))]


def _nonce(whole: WholeRequest, what: str) -> str:
    """At most 25 characters (Discord). From the trace, which no request of another database shares."""
    return f"{whole.request.trace_id.hex[:18]}-{what}"


def _posted(message: discord.Message, whole: WholeRequest, *, mentioned: bool) -> Posted:
    takes = {file.name: file.take_id for file in (file_of(whole, take) for take in whole.takes)}
    attached = {takes[name]: one.id for one in message.attachments if (name := _name_of(one)) in takes}
    return Posted(message_id=MessageId(message.id), attached=attached, mentioned=mentioned, closed=whole.ended)


def _name_of(attachment: discord.Attachment) -> str:
    return attachment.filename.removeprefix("SPOILER_")
