"""Application commands: how they may be described, and who is offered them."""

import re
from enum import IntEnum

from sandbox.fields import Fields
from sandbox.permissions import ALL
from sandbox.records import Command, CommandType, Json
from sandbox.refusals import too_many_commands
from sandbox.world import World

MOST_OF_A_TYPE = {CommandType.SLASH: 100, CommandType.USER: 15, CommandType.MESSAGE: 15}
MOST_OPTIONS = MOST_CHOICES = 25
MOST_LETTERS = 8000
_NAME = re.compile(r"[-_'\w]{1,32}")


class OptionType(IntEnum):
    """What a member fills in."""

    SUBCOMMAND = 1
    GROUP = 2
    STRING = 3
    INTEGER = 4
    BOOLEAN = 5
    USER = 6
    CHANNEL = 7
    ROLE = 8
    MENTIONABLE = 9
    NUMBER = 10
    ATTACHMENT = 11


_VALUES = frozenset(OptionType) - {OptionType.SUBCOMMAND, OptionType.GROUP}
_WITH_CHOICES = {OptionType.STRING, OptionType.INTEGER, OptionType.NUMBER}


def read_command(fields: Fields) -> tuple[CommandType, str, Json]:
    """A command's type, name and the rest of its description, checked and normalised."""
    kind = CommandType(fields.choice("type", CommandType)) if fields.given.get("type") else CommandType.SLASH
    slash = kind is CommandType.SLASH
    name = _slash_name(fields) if slash else fields.required_text("name", most=32)
    body: Json = {
        "description": fields.required_text("description", most=100) if slash else "",
        "default_member_permissions": _bits(fields),
        "dm_permission": fields.flag("dm_permission", default=True),
        "nsfw": fields.flag("nsfw"),
        "contexts": fields.given.get("contexts"),
        "integration_types": fields.given.get("integration_types") or [0],
    } | _localizations(fields)
    if not slash and (fields.text("description", most=100) or fields.given.get("options")):
        field = "options" if fields.given.get("options") else "description"
        fields.wrong(field, "APPLICATION_COMMAND_INVALID_FIELD", "Menu commands have no description and no options")
    if slash:
        body["options"] = options = _options(fields, _TOP)
        if len(name) + _letters(options) + len(str(body["description"])) > MOST_LETTERS:
            fields.wrong("", "APPLICATION_COMMAND_TOO_LARGE", f"Command exceeds maximum size ({MOST_LETTERS})")
    return kind, name, body


def check_counts(commands: list[Command]) -> None:
    """Refuses more commands of one type than Discord takes in one place."""
    for kind, most in MOST_OF_A_TYPE.items():
        if sum(command.type == kind for command in commands) > most:
            raise too_many_commands(most)


def offered(world: World, user_id: int, guild_id: int) -> list[Command]:
    """The commands that a member may use in a server: a server's own hides a global one of the same name."""
    bits = world.guild_permissions(user_id, guild_id)
    own = world.store.commands.under(guild_id)
    taken = {(one.type, one.name) for one in own}
    both = own + [one for one in world.store.commands.under(0) if (one.type, one.name) not in taken]
    return [one for one in both if _permitted(one, bits)]


def _permitted(command: Command, bits: int) -> bool:
    """`default_member_permissions`: null is for all, "0" for administrators only, else all of its bits are needed."""
    needed = command.body.get("default_member_permissions")
    if needed is None or bits == ALL:
        return True
    return needed != "0" and bits & int(str(needed)) == int(str(needed))


def _slash_name(fields: Fields) -> str:
    name = fields.required_text("name", most=32)
    if name and (not _NAME.fullmatch(name) or name != name.lower()):
        sentence = "Command name is invalid: lower-case letters, digits, - and _ only"
        fields.wrong("name", "APPLICATION_COMMAND_INVALID_NAME", sentence)
    return name


def _bits(fields: Fields) -> str | None:
    value = fields.given.get("default_member_permissions")
    if value is None:
        return None
    if not str(value).isdigit():
        fields.wrong("default_member_permissions", "NUMBER_TYPE_COERCE", "Must be a permission bit string.")
        return None
    return str(value)


def _localizations(fields: Fields) -> Json:
    names = ("name_localizations", "description_localizations")
    return {name: given for name in names if isinstance(given := fields.given.get(name), dict)}


def _options(fields: Fields, allowed: frozenset[OptionType]) -> list[Json]:
    """Options in order: names told apart, required ones first, subcommands never beside values."""
    read: list[Json] = []
    optional_seen = False
    for each in fields.objects("options", most=MOST_OPTIONS):
        option = _option(each, allowed)
        if any(option["name"] == other["name"] for other in read):
            sentence = "Option names must be unique"
            each.wrong("name", "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", sentence)
        if option.get("required") and optional_seen:
            sentence = "Required options must be placed before non-required options"
            each.wrong("", "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", sentence)
        optional_seen = optional_seen or not option.get("required")
        read.append(option)
    nesting = [one["type"] in {OptionType.SUBCOMMAND, OptionType.GROUP} for one in read]
    if any(nesting) and not all(nesting):
        sentence = "Subcommands cannot stand beside other options"
        fields.wrong("options", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", sentence)
    return read


def _option(fields: Fields, allowed: frozenset[OptionType]) -> Json:
    kind = OptionType(fields.choice("type", allowed))
    read: Json = {
        "type": int(kind),
        "name": _slash_name(fields),
        "description": fields.required_text("description", most=100),
    } | _localizations(fields)
    if kind is OptionType.GROUP:
        return read | {"options": _options(fields, frozenset({OptionType.SUBCOMMAND}))}
    if kind is OptionType.SUBCOMMAND:
        return read | {"options": _options(fields, _VALUES)}
    read |= {"required": fields.flag("required")}
    if kind in _WITH_CHOICES:
        read |= _choices(fields, kind)
    if kind is OptionType.STRING:
        read |= _bounds(
            min_length=fields.integer("min_length", most=6000),
            max_length=fields.integer("max_length", least=1, most=6000),
        )
    elif kind in {OptionType.INTEGER, OptionType.NUMBER}:
        read |= _bounds(min_value=fields.number("min_value"), max_value=fields.number("max_value"))
    elif kind is OptionType.CHANNEL:
        read |= _bounds(channel_types=fields.given.get("channel_types"))
    return read


def _choices(fields: Fields, kind: OptionType) -> Json:
    read: list[Json] = []
    for each in fields.objects("choices", most=MOST_CHOICES):
        value = each.required_text("value", most=100) if kind is OptionType.STRING else each.number("value")
        read.append({"name": each.required_text("name", most=100), "value": value} | _localizations(each))
    asks = fields.flag("autocomplete")
    if asks and read:
        sentence = "Choices cannot be given beside autocomplete"
        fields.wrong("autocomplete", "APPLICATION_COMMAND_AUTOCOMPLETE_CHOICES", sentence)
    return _bounds(autocomplete=asks, choices=read or None)


def _bounds(**values: object) -> Json:
    return {name: value for name, value in values.items() if value is not None}


def _letters(options: list[Json]) -> int:
    """What counts towards a command's size: names, descriptions and choice values."""
    total = 0
    for one in options:
        total += sum(len(str(one.get(name, ""))) for name in ("name", "description", "value"))
        for name in ("options", "choices"):
            below = one.get(name)
            total += _letters(below) if isinstance(below, list) else 0
    return total


_TOP = frozenset(OptionType)
