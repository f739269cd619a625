"""What hosts tell their generators, and who rests. Owns the SQL of `orders`; `generators` is the queue's too."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from clips.postgres import Pool, retrying

ORDERS = "orders"
"""Notice: a host told its generators something."""
EVERYWHERE = ""
"""In a machine's place: every machine that was told nothing of its own."""


class Pause(StrEnum):
    """Whether a machine claims takes. `NOW` gives the one under way back, `AFTER_TAKE` finishes it."""

    NO = "no"
    AFTER_TAKE = "after take"
    NOW = "now"


@dataclass(frozen=True, slots=True)
class Orders:
    """What a machine was told. `free_at`: when its GPU's memory was last asked back."""

    pause: Pause
    free_at: datetime | None


@dataclass(frozen=True, slots=True)
class Known:
    """A generator that is alive, as its host sees it. `take`: the one that it renders, its last claim."""

    name: str
    machine: str
    device: str
    models: Sequence[str]
    loaded: Sequence[str]
    paused: bool
    rests_until: datetime | None
    take: int | None


_OBEY = "SELECT * FROM obey_orders($1, $2, $3, $4)"
_PAUSE_ONE = """
    INSERT INTO orders (machine, pause) VALUES ($1, $2)
    ON CONFLICT (machine) DO UPDATE SET pause = $2, ordered_at = clock_timestamp()
"""
# What is told to all is told to each: a machine's own pause or work is over.
_PAUSE_ALL = """
    WITH others AS (UPDATE orders SET pause = $2, ordered_at = clock_timestamp() WHERE machine <> $1)
    INSERT INTO orders (machine, pause) VALUES ($1, $2)
    ON CONFLICT (machine) DO UPDATE SET pause = $2, ordered_at = clock_timestamp()
"""
_FREE = """
    INSERT INTO orders (machine, pause, free_at)
        VALUES ($1, coalesce((SELECT pause FROM orders WHERE machine = ''), 'no'), clock_timestamp())
    ON CONFLICT (machine) DO UPDATE SET free_at = clock_timestamp(), ordered_at = clock_timestamp()
"""
_KNOWN = """
    SELECT g.*, (SELECT take_id FROM takes t WHERE t.state = 'running' AND t.generator_id = g.generator_id
                     ORDER BY started_at DESC LIMIT 1) AS take
    FROM generators g WHERE seen_at > clock_timestamp() - $1::interval ORDER BY machine, name
"""


async def obey(pool: Pool, generator_id: UUID, machine: str, device: str, quiet_until: datetime | None) -> Orders:
    """Write down where a generator is and until when its quiet hours last; learn what its host wants."""
    row = await retrying(
        pool, lambda conn: conn.fetchrow(_OBEY, generator_id, machine, device, quiet_until), one_statement=True
    )
    if row is None:
        raise LookupError("obey_orders gave no row")
    return Orders(Pause(row["pause"]), row["free_at"])


async def pause(pool: Pool, machine: str, how: Pause) -> None:
    """Pause a machine's generators, or let them work again. It lasts until it is changed, restarts included."""
    statement = _PAUSE_ALL if machine == EVERYWHERE else _PAUSE_ONE
    await _tell(pool, statement, machine, how)


async def free(pool: Pool, machine: str) -> None:
    """Ask for the GPU's memory, once: the next take takes it again."""
    await _tell(pool, _FREE, machine)


async def known(pool: Pool, within: timedelta = timedelta(seconds=30)) -> list[Known]:
    """The generators that are alive."""
    return [
        Known(
            name=row["name"],
            machine=row["machine"],
            device=row["device"],
            models=row["models"],
            loaded=row["loaded"],
            paused=row["paused"],
            rests_until=row["rests_until"],
            take=row["take"],
        )
        for row in await pool.fetch(_KNOWN, within)
    ]


async def _tell(pool: Pool, statement: str, *arguments: object) -> None:
    await retrying(pool, lambda conn: conn.execute(statement, *arguments), one_statement=True)
    await pool.execute("SELECT pg_notify($1, '')", ORDERS)
