"""What a request has beside its photos: reference pictures, a motion video. Owns the SQL of both their tables.

A reference is a photo like any other of its server; what makes it a reference is its role in a request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from clips.domain import GuildId, RequestId, Sha256, UserId
from clips.postgres import Connection, Pool

MOST_REFERENCES = 7
"""As many as the table and the models that take references allow."""


class InputRole(StrEnum):
    """What an input is for."""

    REFERENCE = "reference"
    MOTION_VIDEO = "motion_video"


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a request: `sha256` names a photo or a motion video of its server."""

    role: InputRole
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A motion video that a server's member uploaded, cleaned. Size in pixels."""

    sha256: Sha256
    width: int
    height: int
    seconds: float


_ADD_VIDEO = """
    INSERT INTO motion_videos (guild_id, sha256, width, height, seconds, user_id) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING
"""
_VIDEO = "SELECT sha256, width, height, seconds FROM motion_videos WHERE guild_id = $1 AND sha256 = $2"
_OF_REQUEST = """
    SELECT role, coalesce(photo, video) AS sha256 FROM request_inputs WHERE request_id = $1 ORDER BY role, position
"""


async def add_video(conn: Connection | Pool, guild_id: GuildId, user_id: UserId, video: StoredVideo) -> None:
    """Note a motion video that is in the blob store. Uploaded before: nothing changes."""
    await conn.execute(_ADD_VIDEO, guild_id, video.sha256, video.width, video.height, video.seconds, user_id)


async def video(pool: Pool, guild_id: GuildId, sha256: Sha256) -> StoredVideo | None:
    """A motion video of this server."""
    row = await pool.fetchrow(_VIDEO, guild_id, sha256)
    return StoredVideo(row["sha256"], row["width"], row["height"], row["seconds"]) if row else None


async def of_request(conn: Connection | Pool, request_id: RequestId) -> tuple[Input, ...]:
    """A request's inputs, each role's in the member's order."""
    return tuple(Input(InputRole(row["role"]), row["sha256"]) for row in await conn.fetch(_OF_REQUEST, request_id))


def rows_of(inputs: Sequence[Input]) -> list[dict[str, object]]:
    """The rows of a new request's inputs, as JSON can carry them."""
    return [
        {
            "role": one.role,
            "position": sum(other.role is one.role for other in inputs[: number + 1]),
            "photo": one.sha256 if one.role is InputRole.REFERENCE else None,
            "video": one.sha256 if one.role is InputRole.MOTION_VIDEO else None,
        }
        for number, one in enumerate(inputs)
    ]


def named(inputs: Sequence[Input]) -> dict[str, Sha256]:
    """Inputs by the names that engines know them by: `reference_1` …, `motion_video`."""
    references = [one.sha256 for one in inputs if one.role is InputRole.REFERENCE]
    found = {f"reference_{number}": sha256 for number, sha256 in enumerate(references, 1)}
    return found | {str(one.role): one.sha256 for one in inputs if one.role is InputRole.MOTION_VIDEO}
