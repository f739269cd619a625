"""Tells Discord our commands, and only when they are not the ones that it has: writing them is rationed by the day."""

import logging
from collections.abc import Mapping, Sequence

from bot.errors import Tree

_log = logging.getLogger(__name__)
_THEIRS_ALONE = frozenset({"id", "application_id", "version", "guild_id", "dm_permission"})
"""What Discord adds, and `dm_permission`, which `contexts` has replaced."""


async def sync(tree: Tree, application_id: int) -> bool:
    """Write the commands if they have changed; whether they had."""
    ours = [command.to_dict(tree) for command in tree.get_commands()]
    theirs = await tree.client.http.get_global_commands(application_id)
    if same_commands(ours, theirs):
        return False
    await tree.sync()
    _log.info("told Discord %d commands", len(ours))
    return True


def same_commands(ours: Sequence[Mapping[str, object]], theirs: Sequence[Mapping[str, object]]) -> bool:
    """Do these describe the same commands? Order does not matter, nor what Discord adds of its own."""
    return _by_name(ours) == _by_name(theirs)


def _by_name(commands: Sequence[Mapping[str, object]]) -> dict[tuple[object, object], object]:
    return {(command.get("type", 1), command["name"]): _plain(command) for command in commands}


def _plain(value: object) -> object:
    """The same for every way to write the same: what says nothing is left out, numbers in text become numbers."""
    if isinstance(value, Mapping):
        return {
            str(key): _plain(each)
            for key, each in value.items()
            if key not in _THEIRS_ALONE and not _says_nothing(each)
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _says_nothing(value: object) -> bool:
    return value is None or value is False or value == "" or (isinstance(value, list | dict) and not value)
