"""Requests as values, for the tests of what is drawn from them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from clips.catalog import Catalog
from clips.domain import (
    ChannelId,
    ClipSpec,
    GuildId,
    Lane,
    RequestId,
    RequestKind,
    Sha256,
    TakeId,
    TakeState,
    UserId,
)
from clips.requests import Request, Take, WholeRequest

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
CATALOG = Catalog.load()
WAN = CATALOG.find("wan-2.2-ti2v-5b")
SKETCH = CATALOG.find("sketch")
FINAL = {TakeState.DONE, TakeState.FAILED, TakeState.CANCELLED}


def take(index: int, state: TakeState, **changes: Any) -> Take:
    """A take in a state, with what goes with it: a clip and a charge if done, a reason if failed."""
    done, final = state is TakeState.DONE, state in FINAL
    fields: dict[str, Any] = {
        "take_id": TakeId(100 + index),
        "index": index,
        "seed": 7 + index,
        "state": state,
        "phase": "step" if state is TakeState.RUNNING else None,
        "done": 0,
        "total": 0,
        "attempts": 0,
        "cancel_requested": False,
        "queued_at": NOW,
        "started_at": None,
        "finished_at": NOW if final else None,
        "error": "The card ran out of memory. Try a smaller size." if state is TakeState.FAILED else None,
        "charged": (18 if done else 0) if final else None,
        "master": Sha256("b" * 64) if done else None,
        "clip_deleted": False,
    }
    return Take(**(fields | changes))


def whole(*takes: Take, **changes: Any) -> WholeRequest:
    """A request of member 42 for these takes."""
    spec = ClipSpec(changes.pop("model", WAN.name), motion=changes.pop("motion", "gentle wind in the hair"))
    fields: dict[str, Any] = {
        "request_id": RequestId(12),
        "guild_id": GuildId(1),
        "channel_id": ChannelId(77),
        "user_id": UserId(42),
        "kind": RequestKind.ANIMATE,
        "lane": Lane.FAST,
        "spec": spec,
        "plan": (CATALOG.get(spec.model) or WAN).plan(spec, (1280, 704)),
        "photo": Sha256("a" * 64),
        "seed": 7,
        "takes": len(takes),
        "chosen_take": None,
        "trace_id": UUID(int=5),
        "created_at": NOW,
    }
    return WholeRequest(Request(**(fields | changes)), takes)
