"""What the application hears of an event: the gateway's name for it, its body, and the intent that it needs."""

from dataclasses import dataclass
from typing import assert_never

from sandbox import events, wire
from sandbox.events import Event
from sandbox.records import Guild, Json, Message
from sandbox.snowflakes import iso, seconds_of
from sandbox.wire_messages import interaction, message
from sandbox.world import World

GUILDS = 1 << 0
GUILD_MESSAGES = 1 << 9
GUILD_MESSAGE_TYPING = 1 << 11


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One gateway event. `intent` 0 goes to all sessions of the server's shard."""

    name: str
    body: Json
    guild_id: int = 0
    intent: int = 0


def of_event(world: World, event: Event) -> list[Dispatch]:  # noqa: PLR0911 - one line of answer an event
    """The gateway events of something that happened; none for what applications do not hear of."""
    match event:
        case events.InteractionMade(one):
            return [Dispatch("INTERACTION_CREATE", interaction(world, one), one.guild_id)]
        case events.MessageCreated(one):
            return _of_message(world, "MESSAGE_CREATE", one)
        case events.MessageUpdated(one):
            return _of_message(world, "MESSAGE_UPDATE", one)
        case events.MessageDeleted(one):
            body: Json = {"id": str(one.id), "channel_id": str(one.channel_id), "guild_id": str(one.guild_id)}
            return [] if one.only_for else [Dispatch("MESSAGE_DELETE", body, one.guild_id, GUILD_MESSAGES)]
        case events.Typing(channel, user_id):
            body = {"channel_id": str(channel.id), "guild_id": str(channel.guild_id), "user_id": str(user_id)}
            body |= {"timestamp": int(world.clock())}
            return [Dispatch("TYPING_START", body, channel.guild_id, GUILD_MESSAGE_TYPING)]
        case events.ChannelUpdated(channel):
            return [Dispatch("CHANNEL_UPDATE", wire.channel(channel), channel.guild_id, GUILDS)]
        case events.ChannelDeleted(channel):
            return [Dispatch("CHANNEL_DELETE", wire.channel(channel), channel.guild_id, GUILDS)]
        case events.GuildUpdated(guild):
            body = wire.guild(guild, world.roles(guild.id), world.bot.id)
            return [Dispatch("GUILD_UPDATE", body, guild.id, GUILDS)]
        case events.InteractionChanged() | events.WorldChanged():
            return []
        case _:
            assert_never(event)


def guild_create(world: World, guild: Guild) -> Json:
    """A whole server as a client gets it at the start. Without the members intent it holds only the bot itself."""
    members = world.store.members.under(guild.id)
    own = [one for one in members if one.user_id == world.bot.id]
    return wire.guild(guild, world.roles(guild.id), world.bot.id) | {
        "joined_at": iso(seconds_of(own[0].id)),
        "large": False,
        "unavailable": False,
        "member_count": len(members),
        "members": [wire.member(one, world.user(one.user_id)) for one in own],
        "channels": [wire.channel(one) for one in world.store.channels.under(guild.id)],
        "threads": [],
        "presences": [],
        "voice_states": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def _of_message(world: World, name: str, one: Message) -> list[Dispatch]:
    if one.only_for:
        return []
    author = world.member(one.guild_id, one.author_id)
    body = message(world, one, for_bot=True) | {"guild_id": str(one.guild_id)}
    if name == "MESSAGE_CREATE" and one.nonce is not None:
        body["nonce"] = one.nonce
    if author is not None:
        body["member"] = wire.member_alone(author)
    return [Dispatch(name, body, one.guild_id, GUILD_MESSAGES)]
