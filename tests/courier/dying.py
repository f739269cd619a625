"""A courier in a process of its own that delivers until it dies at a checkpoint: DSN, address, blobs, checkpoint."""

import asyncio
import sys

from clips.blobs import BlobStore
from clips.catalog import Catalog
from clips.checkpoints import Checkpoints
from clips.postgres import Session, connect_pool
from courier.endpoint import point_at
from courier.posting import Courier
from courier.roads import logged_in


async def main(dsn: str, address: str, blobs: str, checkpoint: str) -> None:
    point_at(address)
    async with connect_pool(dsn, Session("dying courier")) as pool, logged_in("sandbox", pool) as client:
        courier = Courier(
            pool,
            BlobStore.from_url(blobs),
            client,
            Catalog.load(),
            attachment_limit=10 * 1024 * 1024,
            checkpoints=Checkpoints(checkpoint),
        )
        while await courier.deliver_one():
            pass


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
