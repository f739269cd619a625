"""One channel as a courier uses it: send, edit, find, delete. Works with a client that never connected."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import discord
from discord.utils import MISSING

from clips.deliveries import DeliveryKind
from clips.domain import ChannelId, GuildId, MessageId, RequestId
from courier.buttons import Action, ButtonId
from courier.message import File, Message
from courier.views import view_of

_SEARCHED = 500
"""Messages looked through for one whose sending was cut off. Discord's nonce covers the busier minutes."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A take's file on the disk, ready to be attached."""

    file: File
    path: Path
    bytes: int


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel, or a thread, of a server."""

    client: discord.Client
    guild_id: GuildId
    channel_id: ChannelId

    async def send(self, message: Message, uploads: Sequence[Upload], nonce: str) -> discord.Message:
        """A new message; the same one again for the same nonce within a few minutes."""
        return await self._place.send(
            message.content,
            files=_opened(uploads, spoiler=message.spoiler),
            view=view_of(message) or MISSING,
            nonce=nonce,
            allowed_mentions=_mentions(message),
            suppress_embeds=True,
        )

    async def answer(self, message_id: MessageId, message: Message, nonce: str) -> None:
        """A short message that replies to another of ours."""
        await self._place.send(
            message.content,
            reference=self._partial(message_id).to_reference(fail_if_not_exists=False),
            nonce=nonce,
            allowed_mentions=_mentions(message),
        )

    async def edit(
        self,
        message_id: MessageId,
        message: Message,
        uploads: Sequence[Upload],
        keep: Sequence[discord.Attachment] | None,
    ) -> discord.Message:
        """Give a message another form. `keep`: what stays attached beside the uploads; None: all that is."""
        return await self._partial(message_id).edit(
            content=message.content,
            attachments=MISSING if keep is None else [*keep, *_opened(uploads, spoiler=message.spoiler)],
            view=view_of(message),
            allowed_mentions=_mentions(message),
        )

    async def attachments(self, message_id: MessageId) -> list[discord.Attachment]:
        """What is attached to a message now."""
        return (await self._place.fetch_message(message_id)).attachments

    async def delete(self, message_id: MessageId) -> None:
        """Take a message away. Gone already: nothing happens."""
        try:
            await self._partial(message_id).delete()
        except discord.NotFound as error:
            if error.code != 10008:
                raise

    async def find(self, request_id: RequestId, kind: DeliveryKind, since: datetime) -> discord.Message | None:
        """The bot's own message of a request, by the ids in its buttons."""
        async for found in self._place.history(limit=_SEARCHED, after=since, oldest_first=False):
            if self._is_ours(found) and _kind_of(found, request_id) is kind:
                return found
        return None

    async def has_answered(self, message_id: MessageId) -> bool:
        """Is there an answer of ours to this message already?"""
        async for found in self._place.history(limit=_SEARCHED, after=discord.Object(message_id)):
            if self._is_ours(found) and found.reference and found.reference.message_id == message_id:
                return True
        return False

    @property
    def _place(self) -> discord.PartialMessageable:
        return self.client.get_partial_messageable(self.channel_id, guild_id=self.guild_id)

    def _partial(self, message_id: MessageId) -> discord.PartialMessage:
        return self._place.get_partial_message(message_id)

    def _is_ours(self, message: discord.Message) -> bool:
        return self.client.user is not None and message.author.id == self.client.user.id


def _kind_of(message: discord.Message, request_id: RequestId) -> DeliveryKind | None:
    """Only a card is first posted with Cancel, and a reply never is."""
    ids = [
        ButtonId.parse(item.custom_id or "")
        for row in message.components
        if isinstance(row, discord.ActionRow)
        for item in row.children
    ]
    actions = {button.action for button in ids if button is not None and button.request_id == request_id}
    if not actions:
        return None
    return DeliveryKind.CARD if Action.CANCEL in actions else DeliveryKind.REPLY


def _opened(uploads: Sequence[Upload], *, spoiler: bool) -> list[discord.File]:
    """discord.py closes them once the request has ended."""
    return [discord.File(upload.path, filename=upload.file.name, spoiler=spoiler) for upload in uploads]


def _mentions(message: Message) -> discord.AllowedMentions:
    users = [] if message.mention is None else [discord.Object(message.mention)]
    return discord.AllowedMentions(everyone=False, roles=False, replied_user=False, users=users)
