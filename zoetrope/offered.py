"""Whether a model is rendered just now, for who waits for that at a terminal."""

from datetime import timedelta

from clips import queue
from clips.errors import SetupError
from clips.postgres import Pool, Session, connect_pool

_ALIVE = timedelta(seconds=30)


async def is_offered(pool: Pool, model: str) -> bool:
    """Whether a generator that is alive offers the model. `SetupError` says why, where one was told to and cannot."""
    if model in await queue.alive_models(pool, _ALIVE):
        return True
    for _, trouble in await queue.troubles(pool):
        if trouble.startswith(f"{model}: "):
            raise SetupError(trouble)
    return False


async def is_offered_at(dsn: str, model: str) -> bool:
    """The same, for who has no pool yet."""
    async with connect_pool(dsn, Session("zoetrope"), max_size=1) as pool:
        return await is_offered(pool, model)
