"""Putting messages into the world, changing them and taking them away: records, files, mentions, events."""

import re
from dataclasses import replace

from sandbox import media
from sandbox.drafts import AllowedMentions, Draft, NewFile
from sandbox.events import MessageCreated, MessageDeleted, MessageUpdated
from sandbox.permissions import Permission
from sandbox.records import Attachment, Channel, Interaction, Json, Message, MessageFlag, MessageType
from sandbox.snowflakes import at
from sandbox.world import World


def post(
    world: World,
    draft: Draft,
    channel: Channel,
    author_id: int,
    *,
    type: MessageType = MessageType.DEFAULT,  # noqa: A002 - Discord's word
    reference: int | None = None,
    interaction: Interaction | None = None,
) -> Message:
    """Makes a message from a draft; durable when it returns, and told to everyone who may see it.

    An interaction that it answers is kept in the same transaction; its first message is its `@original`.
    """
    message_id = world.ids.next()
    ephemeral = bool(draft.flags & MessageFlag.EPHEMERAL)
    message = Message(
        id=message_id,
        channel_id=channel.id,
        guild_id=channel.guild_id,
        author_id=author_id,
        type=type,
        content=draft.content,
        embeds=draft.embeds,
        components=draft.components,
        flags=draft.flags,
        reference=reference,
        nonce=draft.nonce,
        interaction_id=interaction.id if interaction else None,
        only_for=interaction.user_id if interaction and ephemeral else 0,
    )
    files = [_new_file(world, message, one) for one in draft.new]
    message = _with_mentions(world, replace(message, attachments=[one.id for one in files]), channel, draft.mentions)
    with world.store.transaction():
        for one in files:
            world.store.attachments.put(one)
        world.store.messages.put(message)
        if interaction is not None:
            made = [*interaction.messages, message.id]
            world.store.interactions.put(
                replace(interaction, messages=made, original=interaction.original or message.id)
            )
    world.events.publish(MessageCreated(message))
    return message


def post_as_member(
    world: World, channel: Channel, author_id: int, content: str, uploads: list[Attachment], replied: Message | None
) -> Message:
    """A member's own message, with files that they uploaded before."""
    message_id = world.ids.next()
    message = Message(
        id=message_id,
        channel_id=channel.id,
        guild_id=channel.guild_id,
        author_id=author_id,
        type=MessageType.DEFAULT if replied is None else MessageType.REPLY,
        content=content,
        attachments=[one.id for one in uploads],
        reference=None if replied is None else replied.id,
    )
    message = _with_mentions(world, message, channel, AllowedMentions())
    with world.store.transaction():
        for one in uploads:
            world.store.attachments.put(replace(one, channel_id=channel.id, message_id=message_id))
        world.store.messages.put(message)
    world.events.publish(MessageCreated(message))
    return message


def edit(world: World, message: Message, draft: Draft, channel: Channel) -> Message:
    """Changes a message to what a draft says. Files that it does not keep are gone."""
    files = [_new_file(world, message, one) for one in draft.new]
    kept = [
        replace(file, description=one.description)
        for one in draft.kept
        if (file := world.store.attachments.get(one.id)) is not None
    ]
    dropped = set(message.attachments) - {one.id for one in kept}
    changed = replace(
        message,
        content=draft.content,
        embeds=draft.embeds,
        components=draft.components,
        flags=draft.flags & ~MessageFlag.LOADING,
        attachments=[one.id for one in (*kept, *files)],
        # Filling in a deferred answer is not an edit to a reader.
        edited_at=message.edited_at if message.loading else world.clock(),
    )
    changed = _with_mentions(world, changed, channel, draft.mentions)
    with world.store.transaction():
        for one in (*kept, *files):
            world.store.attachments.put(one)
        for attachment_id in dropped:
            world.store.attachments.delete(attachment_id)
        world.store.messages.put(changed)
    for attachment_id in dropped:
        world.store.path_of(attachment_id).unlink(missing_ok=True)
    world.events.publish(MessageUpdated(changed))
    return changed


def delete(world: World, message: Message) -> None:
    """Takes a message away, with its files."""
    with world.store.transaction():
        world.store.messages.delete(message.id)
        for attachment_id in message.attachments:
            world.store.attachments.delete(attachment_id)
    for attachment_id in message.attachments:
        world.store.path_of(attachment_id).unlink(missing_ok=True)
    world.events.publish(MessageDeleted(message))


def earlier_with_nonce(world: World, channel: Channel, author_id: int, nonce: str | int) -> Message | None:
    """The message that the same author sent here with the same nonce in the past few minutes."""
    since = at(world.clock() - world.times.nonce)
    recent = world.store.messages.after(channel.id, since)
    return next((one for one in recent if one.author_id == author_id and str(one.nonce) == str(nonce)), None)


def files_of(world: World, message: Message) -> list[Attachment]:
    found = (world.store.attachments.get(one) for one in message.attachments)
    return [one for one in found if one is not None]


def _new_file(world: World, message: Message, new: NewFile) -> Attachment:
    """Moves an incoming file to its place. Its record follows in the caller's transaction."""
    attachment_id = world.ids.next()
    path = world.store.path_of(attachment_id)
    new.upload.path.replace(path)
    width, height = media.dimensions_of(path) or (None, None)
    return Attachment(
        id=attachment_id,
        channel_id=message.channel_id,
        message_id=message.id,
        owner_id=message.author_id,
        filename=new.filename,
        size=new.upload.size,
        content_type=media.type_of(new.filename),
        width=width,
        height=height,
        description=new.description,
        ephemeral=message.only_for != 0,
    )


def _with_mentions(world: World, message: Message, channel: Channel, allowed: AllowedMentions) -> Message:
    """Works out who is pinged: named in the text and allowed, and the author replied to."""
    text = message.content + " ".join(_texts(message.components))
    users = [int(one) for one in re.findall(r"<@!?(\d+)>", text)]
    roles = [int(one) for one in re.findall(r"<@&(\d+)>", text)]
    known = {role.id for role in world.roles(channel.guild_id)}
    pinged = [
        one
        for one in users
        if world.store.users.get(one) is not None and ("users" in allowed.kinds or one in allowed.users)
    ]
    replied = world.store.messages.get(message.reference) if message.reference else None
    if replied is not None and message.interaction_id is None and allowed.replied_user:
        pinged.append(replied.author_id)
    everyone = re.search(r"@(everyone|here)\b", text) is not None and "everyone" in allowed.kinds
    return replace(
        message,
        mentions=list(dict.fromkeys(pinged)),
        mention_roles=[one for one in roles if one in known and ("roles" in allowed.kinds or one in allowed.roles)],
        mention_everyone=everyone and world.may(message.author_id, channel, Permission.MENTION_EVERYONE),
    )


def _texts(components: list[Json]) -> list[str]:
    """The text of every text display, however deep."""
    found: list[str] = []
    for one in components:
        content, below = one.get("content"), one.get("components")
        found += [content] if isinstance(content, str) else []
        found += _texts(below) if isinstance(below, list) else []
    return found
