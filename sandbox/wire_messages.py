"""Messages, their files and interactions as Discord writes them in JSON, addresses of files always fresh."""

from sandbox import wire
from sandbox.records import Attachment, Interaction, InteractionType, Json, Message, MessageType
from sandbox.snowflakes import iso, seconds_of
from sandbox.world import World


def attachment(world: World, one: Attachment) -> Json:
    path = world.signer.path(one)
    shown: Json = {
        "id": str(one.id),
        "filename": one.filename,
        "size": one.size,
        "content_type": one.content_type,
        "url": f"{world.address}{path}",
        "proxy_url": f"{world.address}{path}",
    }
    if one.width is not None and one.height is not None:
        shown |= {"width": one.width, "height": one.height}
    if one.description is not None:
        shown["description"] = one.description
    if one.ephemeral:
        shown["ephemeral"] = True
    return shown


def message(world: World, one: Message, *, for_bot: bool, depth: int = 1) -> Json:
    """A message with fresh attachment addresses, and for a reply what it replies to.

    For the bot, other people's words and files are blank unless they mention it: the message-content intent is
    privileged, and this application does not have it. `depth` 0 leaves the replied-to message out. The nonce is not
    here: it is told once, to whoever hears of the sending.
    """
    bare = for_bot and world.bot.id not in {one.author_id, *one.mentions}
    return _message(world, one, bare=bare, for_bot=for_bot, depth=depth)


def target_message(world: World, one: Message) -> Json:
    """A message as a message command hands it to the application: whole, whoever wrote it."""
    return _message(world, one, bare=False, for_bot=True, depth=0)


def _message(world: World, one: Message, *, bare: bool, for_bot: bool, depth: int) -> Json:
    files = [file for file in (world.store.attachments.get(each) for each in one.attachments) if file is not None]
    shown: Json = {
        "id": str(one.id),
        "type": one.type,
        "channel_id": str(one.channel_id),
        "author": wire.user(world.user(one.author_id)),
        "content": "" if bare else one.content,
        "attachments": [] if bare else [attachment(world, file) for file in files],
        "embeds": [] if bare else [_with_files(world, embed, files) for embed in one.embeds],
        "components": [] if bare else [_with_files(world, component, files) for component in one.components],
        "mentions": [wire.user(world.user(each)) for each in one.mentions],
        "mention_roles": [str(each) for each in one.mention_roles],
        "mention_everyone": one.mention_everyone,
        "timestamp": iso(seconds_of(one.id)),
        "edited_timestamp": None if one.edited_at is None else iso(one.edited_at),
        "flags": one.flags,
        "pinned": False,
        "tts": False,
    }
    if one.interaction_id is not None:
        shown |= {"application_id": str(world.app.id), "webhook_id": str(world.app.id)}
        interaction = world.store.interactions.get(one.interaction_id)
        if interaction is not None:
            shown["interaction_metadata"] = _metadata(world, interaction)
            if interaction.type == InteractionType.COMMAND:
                # Deprecated, but only here stands the command's name.
                user = wire.user(world.user(interaction.user_id))
                named: Json = {"id": str(interaction.id), "type": interaction.type, "user": user}
                shown["interaction"] = named | {"name": interaction.command_name}
    if one.reference is not None:
        shown["message_reference"] = {
            "type": 0,
            "message_id": str(one.reference),
            "channel_id": str(one.channel_id),
            "guild_id": str(one.guild_id),
        }
        if depth and one.type == MessageType.REPLY:
            replied = world.store.messages.get(one.reference)
            shown["referenced_message"] = (
                None if replied is None else message(world, replied, for_bot=for_bot, depth=depth - 1)
            )
    return shown


def _metadata(world: World, one: Interaction) -> Json:
    shown: Json = {
        "id": str(one.id),
        "type": one.type,
        "user": wire.user(world.user(one.user_id)),
        "authorizing_integration_owners": {"0": str(one.guild_id)},
    }
    if one.original is not None:
        shown["original_response_message_id"] = str(one.original)
    parent = None if one.parent is None else world.store.interactions.get(one.parent)
    if one.type == InteractionType.MODAL and parent is not None:
        shown["triggering_interaction_metadata"] = _metadata(world, parent)
    elif one.type == InteractionType.COMPONENT and one.message_id is not None:
        shown["interacted_message_id"] = str(one.message_id)
    elif one.message_id is not None:
        shown["target_message_id"] = str(one.message_id)
    return shown


def _with_files(world: World, node: Json, files: list[Attachment]) -> Json:
    """An embed or component with `attachment://name` replaced by that file's address, all the way down."""
    shown: Json = {}
    for name, value in node.items():
        if isinstance(value, dict):
            shown[name] = _with_files(world, value, files)
        elif isinstance(value, list):
            shown[name] = [_with_files(world, each, files) if isinstance(each, dict) else each for each in value]
        else:
            shown[name] = value
    address = node.get("url")
    if isinstance(address, str) and address.startswith("attachment://"):
        file = next((each for each in files if each.filename == address.removeprefix("attachment://")), None)
        if file is not None:
            found = attachment(world, file)
            shown |= {"url": found["url"], "proxy_url": found["proxy_url"], "content_type": file.content_type}
            shown |= {"width": file.width or 0, "height": file.height or 0}
            if "id" in node:
                shown["attachment_id"] = str(file.id)
    return shown


def interaction(world: World, one: Interaction) -> Json:
    """What the gateway tells the application about an interaction."""
    place = world.store.channels.get(one.channel_id)
    who = world.member(one.guild_id, one.user_id)
    home = world.guild(one.guild_id)
    if place is None or who is None:
        raise KeyError(one.channel_id)
    bits = str(world.permissions(one.user_id, place))
    shown: Json = {
        "id": str(one.id),
        "application_id": str(world.app.id),
        "type": one.type,
        "token": one.token,
        "version": 1,
        "data": one.data,
        "guild_id": str(home.id),
        "guild": {"id": str(home.id), "locale": "en-US", "features": []},
        "guild_locale": "en-US",
        "locale": "en-US",
        "channel_id": str(place.id),
        "channel": {**wire.channel(place), "permissions": bits},
        "member": {**wire.member(who, world.user(one.user_id)), "permissions": bits},
        "app_permissions": str(world.permissions(world.bot.id, place)),
        "entitlements": [],
        "authorizing_integration_owners": {"0": str(home.id)},
        "context": 0,
        "attachment_size_limit": home.interaction_limit,
    }
    source = None if one.message_id is None else world.store.messages.get(one.message_id)
    if source is not None and one.type in {InteractionType.COMPONENT, InteractionType.MODAL}:
        shown["message"] = message(world, source, for_bot=True)
    return shown
