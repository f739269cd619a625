"""Whether a model is rendered just now, for who waits for that at a terminal."""

from collections.abc import Collection
from datetime import timedelta

from clips import queue
from clips.domain import TakeState
from clips.errors import SetupError
from clips.postgres import Pool, Session, connect_pool
from clips.requests import WholeRequest
from generator.heartbeat import name_of

_ALIVE = timedelta(seconds=30)


async def is_alive(pool: Pool, model: str) -> bool:
    """Whether a generator that is alive offers the model."""
    return model in await queue.alive_models(pool, _ALIVE)


async def is_offered(pool: Pool, model: str, pids: Collection[int] = ()) -> bool:
    """The same, but `SetupError` says why where none does since one was told to and cannot.

    `pids`: only the trouble of generators in these processes of this machine counts; none given: that of any.
    """
    if await is_alive(pool, model):
        return True
    own = {name_of(pid) for pid in pids}
    for name, trouble in await queue.troubles(pool):
        if trouble.startswith(f"{model}: ") and (not own or name in own):
            raise SetupError(trouble)
    return False


async def is_offered_at(dsn: str, model: str, pids: Collection[int] = ()) -> bool:
    """The same, for who has no pool yet."""
    async with connect_pool(dsn, Session("zoetrope"), max_size=1) as pool:
        return await is_offered(pool, model, pids)


async def check_goes_on(pool: Pool, model: str, whole: WholeRequest | None, pids: Collection[int] = ()) -> None:
    """Raise as `is_offered` does where that is why a request's takes wait: not while one of them is rendered."""
    if whole is None or not any(take.state is TakeState.RUNNING for take in whole.takes):
        await is_offered(pool, model, pids)
