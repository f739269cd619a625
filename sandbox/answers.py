"""What a member fills into a command: checked against its options, with the people and files that it names."""

from contextlib import suppress
from dataclasses import dataclass, field, replace

from sandbox import wire
from sandbox.commands import OptionType
from sandbox.fields import Fields
from sandbox.records import Attachment, Json
from sandbox.refusals import SentenceError
from sandbox.wire_messages import attachment
from sandbox.world import World

MOST_TEXT = 6000


@dataclass(slots=True)
class Resolver:
    """Collects the users, roles, channels and files that answers name, as the `resolved` of an interaction."""

    world: World
    guild_id: int
    user_id: int
    found: dict[str, Json] = field(default_factory=dict[str, Json])

    def user(self, given: object) -> bool:
        member = self.world.member(self.guild_id, _id(given))
        if member is None:
            return False
        user = self.world.user(member.user_id)
        bits = str(self.world.guild_permissions(user.id, self.guild_id))
        self._add("users", user.id, wire.user(user))
        self._add("members", user.id, wire.member_alone(member) | {"permissions": bits})
        return True

    def role(self, given: object) -> bool:
        role = self.world.store.roles.get(_id(given))
        if role is None or role.guild_id != self.guild_id:
            return False
        self._add("roles", role.id, wire.role(role, self.world.bot.id))
        return True

    def channel(self, given: object) -> bool:
        channel = self.world.store.channels.get(_id(given))
        if channel is None or channel.guild_id != self.guild_id:
            return False
        bits = str(self.world.permissions(self.user_id, channel))
        self._add("channels", channel.id, wire.channel(channel) | {"permissions": bits})
        return True

    def upload(self, given: object) -> bool:
        """A file that this member uploaded and that no message holds."""
        upload = self.world.store.attachments.get(_id(given))
        if upload is None or upload.message_id or upload.owner_id != self.user_id:
            return False
        self._add("attachments", upload.id, attachment(self.world, _ephemeral(upload)))
        return True

    def _add(self, kind: str, record_id: int, shown: Json) -> None:
        self.found.setdefault(kind, {})[str(record_id)] = shown


def read_answers(described: object, given: list[Fields], resolver: Resolver, *, complete: bool = True) -> list[Json]:
    """A member's options in the order that they were given, for the interaction's data.

    `described` are the command's options. `complete` is false while a member still types (autocomplete).
    Raises `SentenceError`.
    """
    known = {str(one["name"]): one for one in described} if isinstance(described, list) else {}
    read: list[Json] = []
    for each in given:
        name = each.text("name", most=32) or ""
        option = known.get(name)
        if option is None:
            raise SentenceError(f"This command has no option “{name}”.")
        kind = OptionType(option["type"])
        if kind in {OptionType.SUBCOMMAND, OptionType.GROUP}:
            below = read_answers(option.get("options"), each.objects("options", most=25), resolver, complete=complete)
            read.append({"name": name, "type": int(kind), "options": below})
        elif complete:
            read.append(_answer(option, kind, each, resolver))
        else:
            # What is half filled in does not keep suggestions from coming.
            with suppress(SentenceError):
                read.append(_answer(option, kind, each, resolver))
    subcommands = [one for one in known.values() if one["type"] in {OptionType.SUBCOMMAND, OptionType.GROUP}]
    if subcommands and len(read) != 1:
        raise SentenceError("Choose one of this command's subcommands.")
    names = [one["name"] for one in read]
    if len(set(names)) != len(names):
        raise SentenceError("Each option is given once.")
    absent = [name for name, option in known.items() if option.get("required") and name not in names]
    if complete and absent:
        raise SentenceError(f"The option “{absent[0]}” is needed.")
    return read


def focused(options: list[Json]) -> Json | None:
    """The option in which a member types, in whatever subcommand it is."""
    for one in options:
        if one.get("focused"):
            return one
        below = one.get("options")
        found = focused(below) if isinstance(below, list) else None
        if found is not None:
            return found
    return None


def _answer(option: Json, kind: OptionType, given: Fields, resolver: Resolver) -> Json:
    name, value = str(option["name"]), given.given.get("value")
    read: Json = {"name": name, "type": int(kind)}
    if given.flag("focused"):
        # What is being typed goes out as it stands: a number may still be half a number.
        return read | {"value": str(value or ""), "focused": True}
    if kind is OptionType.STRING:
        return read | {"value": _text(option, name, value)}
    if kind in {OptionType.INTEGER, OptionType.NUMBER}:
        return read | {"value": _number(option, kind, name, value)}
    if kind is OptionType.BOOLEAN:
        if not isinstance(value, bool):
            raise SentenceError(f"The option “{name}” is true or false.")
        return read | {"value": value}
    resolve = {
        OptionType.USER: resolver.user,
        OptionType.ROLE: resolver.role,
        OptionType.CHANNEL: resolver.channel,
        OptionType.ATTACHMENT: resolver.upload,
        OptionType.MENTIONABLE: lambda one: resolver.user(one) or resolver.role(one),
    }[kind]
    if not resolve(value):
        raise SentenceError(f"The option “{name}” names a {kind.name.lower()} that is not here.")
    return read | {"value": str(value)}


def _text(option: Json, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise SentenceError(f"The option “{name}” is a text.")
    least, most = option.get("min_length"), option.get("max_length")
    least = least if isinstance(least, int) else 0
    most = most if isinstance(most, int) else MOST_TEXT
    if not least <= len(value) <= most:
        raise SentenceError(f"The option “{name}” takes {least} to {most} letters.")
    _check_choice(option, name, value)
    return value


def _number(option: Json, kind: OptionType, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SentenceError(f"The option “{name}” is a number.")
    if kind is OptionType.INTEGER and value != int(value):
        raise SentenceError(f"The option “{name}” is a whole number.")
    least, most = option.get("min_value"), option.get("max_value")
    if isinstance(least, int | float) and value < least:
        raise SentenceError(f"The option “{name}” is at least {least}.")
    if isinstance(most, int | float) and value > most:
        raise SentenceError(f"The option “{name}” is at most {most}.")
    _check_choice(option, name, value)
    return int(value) if kind is OptionType.INTEGER else value


def _check_choice(option: Json, name: str, value: object) -> None:
    choices = option.get("choices")
    if isinstance(choices, list) and choices and value not in [one["value"] for one in choices]:
        raise SentenceError(f"The option “{name}” has no such choice.")


def _id(given: object) -> int:
    return int(str(given)) if str(given).isdigit() else 0


def _ephemeral(upload: Attachment) -> Attachment:
    """Files given to an interaction are ephemeral: Discord keeps them only for a while."""
    return replace(upload, ephemeral=True)
