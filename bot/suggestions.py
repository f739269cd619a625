"""What is suggested while a member types `/animate`. What is half typed counts where it can be read."""

import asyncio
import logging
import math
import re
from collections.abc import Callable, Coroutine, Sequence
from enum import StrEnum
from functools import wraps
from typing import Any, TypeVar

from discord.app_commands import Choice, Namespace

from bot import plans, quotes
from bot.application import Interaction, member_of
from clips import guilds, paid, queue
from clips.catalog import EngineKind, Model
from clips.domain import Lane, Size
from clips.errors import MemberError
from clips.intakes import Wish

_log = logging.getLogger(__name__)
_BOUND = 2.0
"""Seconds; after three Discord has given up."""
_NUMBER = re.compile(r"\s*(\d{1,6}(?:[.,]\d*)?)")

_Value = TypeVar("_Value", str, float)
_Word = TypeVar("_Word", bound=StrEnum)


_Suggest = Callable[[Interaction, str], Coroutine[Any, Any, list[Choice[_Value]]]]


def _bounded(suggest: _Suggest[_Value]) -> _Suggest[_Value]:
    """Nothing is suggested where that takes too long or fails: the member goes on typing."""

    @wraps(suggest)
    async def guarded(interaction: Interaction, typed: str) -> list[Choice[_Value]]:
        try:
            async with asyncio.timeout(_BOUND):
                return await suggest(interaction, typed)
        except MemberError:
            return []
        except Exception:  # noqa: BLE001 - whatever it is, the command itself may still work
            _log.exception("nothing could be suggested")
            return []

    return guarded


@_bounded
async def models(interaction: Interaction, typed: str) -> list[Choice[str]]:
    """The models at work that match what was typed, each with what the other options cost with it, and its wait."""
    parts, guild_id = interaction.client.parts, member_of(interaction).guild_id
    wish = wished(interaction.namespace)
    rules, waits = await guilds.rules(parts.pool, guild_id), await queue.waits(parts.pool)
    offered = await _offered(interaction, wish)
    return [
        Choice(name=quotes.offer(wish, model, rules, _begin(waits.get(model.name))), value=model.name)
        for model in _matching(offered, typed)
    ][: quotes.MOST]


@_bounded
async def lengths(interaction: Interaction, typed: str) -> list[Choice[float]]:
    """The lengths that the model renders, each with its price. `typed` is NaN where nothing is typed (discord.py)."""
    parts, guild_id = interaction.client.parts, member_of(interaction).guild_id
    wish = wished(interaction.namespace, length=typed)
    rules = await guilds.rules(parts.pool, guild_id)
    model = await _model(interaction, wish, rules.default_model)
    return [Choice(name=name, value=seconds) for name, seconds in quotes.lengths(wish, model, rules)]


def wished(namespace: Namespace, *, length: object = None) -> Wish:
    """What the options come to so far. Any of them may be half typed, or hold what no choice is.

    `length` stands for the option of that name while the member types in it.
    """
    model: object = namespace.model
    return Wish(
        model=model if isinstance(model, str) and model.strip() else None,
        platform=_word(EngineKind, namespace.platform),
        seconds=_seconds(namespace.length if length is None else length),
        size=_word(Size, namespace.size) or Size.NATIVE,
        takes=_takes(namespace.takes),
        lane=_word(Lane, namespace.lane) or Lane.FAST,
        sound=namespace.sound is True,
    )


async def _model(interaction: Interaction, wish: Wish, default: str | None) -> Model:
    """The model that was typed, or the first one that it may become; else the one that would be chosen."""
    parts = interaction.client.parts
    if wish.model is not None:
        named = parts.catalog.get(wish.model.strip().lower())
        found = [named] if named else _matching(await _offered(interaction, wish), wish.model)
        if not found:
            raise MemberError(f"There is no model “{wish.model}”.")
        return found[0]
    alive = await queue.alive_models(parts.pool)
    approved = await paid.providers(parts.pool, member_of(interaction).guild_id)
    return plans.choose_model(wish, parts.catalog, alive, default, approved)


async def _offered(interaction: Interaction, wish: Wish) -> list[Model]:
    """The models that can be had on the platform and in the lane of a wish."""
    parts = interaction.client.parts
    alive = await queue.alive_models(parts.pool)
    approved = await paid.providers(parts.pool, member_of(interaction).guild_id)
    return plans.offered(wish, parts.catalog, alive, approved)


def _matching(offered: Sequence[Model], typed: str) -> list[Model]:
    wanted = typed.strip().lower()
    return [model for model in offered if wanted in model.name or wanted in model.title.lower()]


def _begin(wait: float | None) -> str:
    if wait is None:
        return "its generator is away"
    if wait == math.inf:
        return "paused by its host"
    return "starts at once" if wait < 15 else f"starts in about {max(1, round(wait / 60))} min"


def _seconds(given: object) -> float | None:
    """The number that a text begins with: also the one of a suggestion that was picked before."""
    found = _NUMBER.match(str(given))
    return float(found[1].replace(",", ".")) if found else None


def _takes(given: object) -> int | None:
    return int(str(given)) if str(given) in {"1", "2", "3", "4"} else None


def _word(words: type[_Word], given: object) -> _Word | None:
    return next((word for word in words if word == given), None)
