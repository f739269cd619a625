"""What is refused for want of credits, dollars or room, in words. Pure.

Postgres has the last word at enqueue; what can be known before a photo is fetched is refused before.
"""

import json
from collections.abc import Set as AbstractSet

import asyncpg

from clips.catalog import Model
from clips.domain import GuildId, Lane
from clips.errors import MemberError
from clips.paid import Approval, dollars_of
from clips.requests import Ask

_FREE = "use `lane: relaxed`, which is free"


def refusal(error: asyncpg.PostgresError, ask: Ask) -> Exception:
    """The refusals of `enqueue_request` (codes ZT…) in words; any other error as it is."""
    message = error.as_dict()
    code = message.get("sqlstate", "")
    if not code.startswith("ZT"):
        return error
    known: dict[str, int] = json.loads(message["detail"])
    match code:
        case "ZT001":
            free = "" if ask.provider else f", {_FREE}"
            sentence = (
                f"You have {known['available']} credits left today and this takes {known['wanted']}. Ask for fewer "
                f"takes, a shorter clip or a lighter model{free}, or wait: your credits come back at midnight UTC."
            )
        case "ZT002":
            instead = "Ask for less" if ask.provider else _FREE.capitalize()
            sentence = (
                f"This server has {known['available']} credits left today and this takes {known['wanted']}. "
                f"{instead}, or wait: the server's credits come back at midnight UTC."
            )
        case "ZT003":
            sentence = (
                f"You have {known['unfinished']} takes waiting or rendering and this asks for {known['wanted']} more, "
                f"but this server allows {known['most']} at once. Ask for fewer takes, wait for some to finish, or "
                "cancel some with `/my queue`."
            )
        case "ZT004":
            sentence = _not_approved("This model", ask.provider or "", ask.guild_id)
        case _:
            sentence = _over_the_cap(ask, known)
    return MemberError(sentence)


def check_paid(model: Model, lane: Lane, guild_id: GuildId, approved: AbstractSet[str]) -> None:
    """Refuse a model that costs dollars where nobody spends any. `approved`: the server's providers."""
    if model.provider is None:
        return
    if lane is Lane.RELAXED:
        raise MemberError(
            f"{model.title} costs real money, and the relaxed lane is free. Leave `lane` out, or pick a model that the "
            "host of this bot renders."
        )
    if model.provider not in approved:
        raise MemberError(_not_approved(model.title, model.provider, guild_id))


def _not_approved(model: str, provider: str, guild_id: GuildId) -> str:
    """The host has not said that this server may spend money with a provider."""
    return (
        f"{model} costs real money, which {provider} bills, and this server may not spend any with it. Pick another "
        f"model, or ask the host of this bot, who can allow it with `zoetrope paid approve {guild_id} {provider} "
        "--monthly 20` (dollars)."
    )


def check_cap(ask: Ask, approval: Approval) -> None:
    """Refuse what the month's dollars do not hold before anything is asked back; the reservation has the last word."""
    each = ask.plan.microdollars
    if each * ask.takes > approval.left:
        known = {"cap": approval.monthly_cap, "left": approval.left, "each": each, "wanted": each * ask.takes}
        raise MemberError(_over_the_cap(ask, known))


def _over_the_cap(ask: Ask, known: dict[str, int]) -> str:
    """The month's dollars do not hold all of it, perhaps some."""
    fits = known["left"] // known["each"]
    cap, left = dollars_of(known["cap"]), dollars_of(known["left"])
    use = f"Ask for fewer takes ({fits} would fit), or use" if fits else "Use"
    return (
        f"This server may spend {cap} a month with {ask.provider}, and {left} of that is left; "
        f"this takes up to {dollars_of(known['wanted'])}. {use} a model that the host renders. The month ends at "
        "midnight UTC of its last day; the host can raise the cap with `zoetrope paid approve`."
    )
