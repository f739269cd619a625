"""Who may do what in a channel: Discord's permission bits and the order in which they are laid over one another."""

from collections.abc import Sequence
from enum import IntFlag

from sandbox.records import Channel, Guild, Member, Overwrite, Role


class Permission(IntFlag):
    """The bits that the sandbox looks at, with Discord's values."""

    ADMINISTRATOR = 1 << 3
    MANAGE_GUILD = 1 << 5
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_APPLICATION_COMMANDS = 1 << 31


ALL = (1 << 53) - 1
EVERYONE = (
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.USE_APPLICATION_COMMANDS
)


def in_guild(guild: Guild, member: Member, roles: Sequence[Role]) -> int:
    """The bits that a member has in a server before any channel is looked at."""
    if guild.owner_id == member.user_id:
        return ALL
    bits = 0
    for role in roles:
        if role.id == guild.id or role.id in member.roles:
            bits |= int(role.permissions)
    return ALL if bits & Permission.ADMINISTRATOR else bits


def in_channel(guild: Guild, member: Member, roles: Sequence[Role], channel: Channel) -> int:
    """The bits that a member has in a channel: the server's, then everyone's overwrite, the roles', the member's."""
    bits = in_guild(guild, member, roles)
    if bits == ALL:
        return bits
    overwrites = channel.all_overwrites
    everyone = [one for one in overwrites if one.id == guild.id]
    held = [one for one in overwrites if one.id in member.roles]
    own = [one for one in overwrites if one.id == member.user_id]
    for layer in (everyone, held, own):
        bits = _lay(bits, layer)
    return bits if bits & Permission.VIEW_CHANNEL else 0


def _lay(bits: int, layer: Sequence[Overwrite]) -> int:
    denied = allowed = 0
    for overwrite in layer:
        denied |= overwrite.deny
        allowed |= overwrite.allow
    return bits & ~denied | allowed
