"""The blob store on real folders and a real Postgres, and killed between its steps."""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from signal import SIGKILL
from uuid import uuid4

import asyncpg
import obstore
import pytest

from clips import inputs, intakes, library, queue
from clips.blobs import BlobDamagedError, BlobMissingError, BlobStore, Collected
from clips.domain import GuildId, Sha256, UserId
from clips.errors import RetryableError, SetupError
from clips.inputs import Input, InputRole, StoredVideo
from clips.intakes import Upload, Wish
from clips.invariants import violations
from clips.library import StoredPhoto
from clips.postgres import Pool, retrying
from tests.library_of import CHANNEL, CLIP, PHOTO, ask_for, enqueued, settle_in

NOW = timedelta(0)
HOUR = timedelta(hours=1)
CONTENT = b"a photo, let us say"
NAME = Sha256(hashlib.sha256(CONTENT).hexdigest())
OTHER_NAME = Sha256(hashlib.sha256(b"").hexdigest())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(folder: Path) -> BlobStore:
    return BlobStore.from_url(str(folder))


def place(folder: Path, name: Sha256) -> Path:
    return folder / name[:2] / name


def files(folder: Path) -> set[str]:
    """The names of all files below."""
    return {path.name for path in folder.rglob("*") if path.is_file()}


async def names(pool: Pool) -> set[str]:
    return {row["sha256"] for row in await pool.fetch("SELECT sha256 FROM blobs")}


async def refer(pool: Pool, name: Sha256) -> None:
    await pool.execute("INSERT INTO guilds (guild_id) VALUES (1) ON CONFLICT DO NOTHING")
    await pool.execute("INSERT INTO photos (guild_id, sha256, width, height, user_id) VALUES (1, $1, 8, 8, 1)", name)


async def age(pool: Pool) -> None:
    await pool.execute("UPDATE blobs SET touched_at = touched_at - interval '2 hours'")


async def test_bytes_and_files_come_back(blobs: BlobStore, pool: Pool, folder: Path, tmp_path: Path):
    (tmp_path / "clip.mp4").write_bytes(CONTENT)
    assert await blobs.put(pool, CONTENT, "image/png") == NAME
    assert await blobs.put(pool, tmp_path / "clip.mp4", "video/mp4") == NAME
    assert await blobs.get(NAME) == CONTENT
    assert place(folder, NAME).read_bytes() == CONTENT
    assert [tuple(r) for r in await pool.fetch("SELECT sha256, bytes, media_type FROM blobs")] == [
        (NAME, len(CONTENT), "image/png")
    ]


async def test_a_large_file_is_streamed(blobs: BlobStore, pool: Pool, tmp_path: Path):
    large, back = tmp_path / "large", tmp_path / "back"
    large.write_bytes(os.urandom(1 << 20) * 40)
    name = await blobs.put(pool, large, "video/mp4")
    await blobs.fetch_to(name, back)
    assert back.read_bytes() == large.read_bytes()
    assert files(tmp_path) == {"large", "back", name}


async def test_an_empty_blob(blobs: BlobStore, pool: Pool):
    assert await blobs.put(pool, b"", "text/plain") == OTHER_NAME
    assert await blobs.get(OTHER_NAME) == b""


async def test_a_damaged_object_is_told_and_mended_by_putting_it_again(
    blobs: BlobStore, pool: Pool, folder: Path, tmp_path: Path
):
    await blobs.put(pool, CONTENT, "image/png")
    place(folder, NAME).write_bytes(CONTENT[:-1])
    with pytest.raises(BlobDamagedError, match=f"{NAME} is damaged"):
        await blobs.get(NAME)
    with pytest.raises(BlobDamagedError):
        await blobs.fetch_to(NAME, tmp_path / "back")
    assert files(tmp_path) == {NAME}
    await blobs.put(pool, CONTENT, "image/png")
    assert await blobs.get(NAME) == CONTENT


async def test_a_missing_object_is_told(blobs: BlobStore, tmp_path: Path):
    with pytest.raises(BlobMissingError, match=f"{NAME} is not in the store"):
        await blobs.get(NAME)
    with pytest.raises(BlobMissingError):
        await blobs.fetch_to(NAME, tmp_path / "back")
    assert files(tmp_path) == set()


async def test_collection_takes_what_is_old_and_unreferenced(blobs: BlobStore, pool: Pool, folder: Path):
    old, kept, fresh = [await blobs.put(pool, text, "text/plain") for text in (b"old", b"kept", b"fresh")]
    await refer(pool, kept)
    await age(pool)
    await blobs.put(pool, b"fresh", "text/plain")
    assert await blobs.collect(pool, HOUR) == Collected(1, 3)
    assert await names(pool) == {kept, fresh}
    assert not place(folder, old).exists()
    assert (await blobs.get(kept), await blobs.get(fresh)) == (b"kept", b"fresh")
    assert await blobs.collect(pool, HOUR) == Collected(0, 0)


async def test_uploads_that_nothing_came_of_are_forgotten(blobs: BlobStore, pool: Pool):
    """What a request, a draft or an open intake names stays, and so does what is on its way to a request."""
    guild, ada = GuildId(1), UserId(2)
    await settle_in(pool, guild)

    async def photo(said: str) -> Sha256:
        name = await blobs.put(pool, said.encode(), "image/png")
        await library.add_photo(pool, guild, ada, StoredPhoto(name, 8, 8))
        return name

    async def video(said: str) -> Sha256:
        name = await blobs.put(pool, said.encode(), "video/mp4")
        await inputs.add_video(pool, guild, ada, StoredVideo(name, 8, 8, 3.0))
        return name

    photos = {said: await photo(said) for said in ("end", "reference", "drafted", "open", "refused", "asked for again")}
    videos = {said: await video(said) for said in ("followed", "drafted to follow", "refused to follow")}
    further = (Input(InputRole.REFERENCE, photos["reference"]), Input(InputRole.MOTION_VIDEO, videos["followed"]))
    await enqueued(pool, ask_for(guild, ada, end_photo=photos["end"], inputs=further))
    draft = Wish(photo=photos["drafted"], motion_video=Upload(sha256=videos["drafted to follow"]))
    await intakes.save_draft(pool, guild, ada, draft)
    for number, said in ((1, "open"), (2, "refused")):
        wish = Wish(references=(Upload(sha256=photos[said]),))
        await intakes.open_intake(
            pool, interaction_id=number, guild_id=guild, channel_id=CHANNEL, user_id=ada, token="-", wish=wish
        )
    await intakes.refuse(pool, 2, "No.")
    await age(pool)
    assert photos["asked for again"] == await photo("asked for again")
    assert await library.forget_uploads(pool, HOUR) == 2
    assert [said for said, name in photos.items() if await library.photo(pool, guild, name) is None] == ["refused"]
    gone = [said for said, name in videos.items() if await inputs.video(pool, guild, name) is None]
    assert gone == ["refused to follow"]
    assert await library.photo(pool, guild, PHOTO) is not None
    # The master of `settle_in` goes with them: nobody refers to it.
    assert await blobs.collect(pool, HOUR) == Collected(3, 1 + len("refused" + "refused to follow"))
    # Once the draft and the intake are over, what they named goes too.
    await pool.execute("DELETE FROM drafts")
    await pool.execute("UPDATE intakes SET finished_at = now(), refusal = 'No.'")
    assert await library.forget_uploads(pool, HOUR) == 3


async def test_a_deleted_clips_record_outlives_its_bytes(blobs: BlobStore, pool: Pool, folder: Path):
    await settle_in(pool, 1)
    request = await enqueued(pool, ask_for(1, 2, takes=1))
    generator = uuid4()
    await queue.announce(pool, generator, "one", ["sketch"], [])
    await queue.reap(pool, HOUR)
    claim = await queue.claim(pool, generator, ["sketch"], [], HOUR)
    assert claim is not None
    await queue.record(pool, claim, await blobs.put(pool, CONTENT, "video/mp4"), CLIP, HOUR, {})
    await library.add_copy(pool, claim.take_id, 1000, await blobs.put(pool, b"smaller", "video/mp4"))
    assert await blobs.collect(pool, NOW) == Collected(1, 1)  # what `settle_in` calls a master, and nobody refers to
    await retrying(pool, lambda conn: library.delete_clips(conn, GuildId(1), request))
    assert await library.clip(pool, GuildId(1), claim.take_id) is None
    assert await blobs.collect(pool, NOW) == Collected(2, len(CONTENT) + len(b"smaller"))
    assert not place(folder, NAME).exists()
    assert await pool.fetchval("SELECT count(*) FROM clips") == 1
    async with pool.acquire() as conn:
        assert await violations(conn) == []


async def test_delete_is_for_what_nothing_refers_to(blobs: BlobStore, pool: Pool, folder: Path):
    await blobs.put(pool, CONTENT, "image/png")
    await blobs.put(pool, b"kept", "image/png")
    kept = Sha256(hashlib.sha256(b"kept").hexdigest())
    await refer(pool, kept)
    assert await blobs.delete(pool, NAME)
    assert not await blobs.delete(pool, NAME)
    assert not await blobs.delete(pool, kept)
    assert not place(folder, NAME).exists()
    assert await blobs.get(kept) == b"kept"


async def test_collection_passes_by_what_is_being_put_and_a_put_waits_for_collection(blobs: BlobStore, pool: Pool):
    await blobs.put(pool, CONTENT, "image/png")
    async with pool.acquire() as holder:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("SELECT FROM blobs FOR UPDATE")
        assert await blobs.collect(pool, NOW) == Collected(0, 0)
        putting = asyncio.create_task(blobs.put(pool, CONTENT, "image/png"))
        await asyncio.sleep(0.2)
        assert not putting.done()
        await transaction.rollback()
    assert await putting == NAME


async def test_puts_references_and_collections_at_once(blobs: BlobStore, pool: Pool, folder: Path):
    """Without any grace a blob may go before it is referred to; then the reference fails. None may ever dangle."""
    await pool.execute("CREATE TABLE references_made (sha256 text REFERENCES blobs)")
    await pool.execute(
        "CREATE OR REPLACE FUNCTION blob_is_referenced(a_sha256 text) RETURNS boolean LANGUAGE sql STABLE AS "
        "$$ SELECT EXISTS (SELECT FROM references_made WHERE sha256 = a_sha256) $$"
    )
    refused = 0
    done = asyncio.Event()

    async def member(number: int) -> None:
        nonlocal refused
        for step in range(12):
            name = await blobs.put(pool, f"photo {number % 2} {step}".encode(), "image/png")
            if step % 3:
                try:
                    await pool.execute("INSERT INTO references_made VALUES ($1)", name)
                except asyncpg.ForeignKeyViolationError:
                    refused += 1

    async def collector() -> int:
        count = 0
        while not done.is_set():
            count += (await blobs.collect(pool, NOW)).blobs
        return count

    collecting = asyncio.create_task(collector())
    try:
        await asyncio.gather(*(member(number) for number in range(4)))
    finally:
        done.set()
    assert await collecting > 0
    made = [row["sha256"] for row in await pool.fetch("SELECT DISTINCT sha256 FROM references_made")]
    assert made
    for name in made:
        await blobs.get(name)
    await blobs.collect(pool, NOW)
    assert files(folder) == await names(pool) == set(made)


DYING = """
import asyncio, os, sys
import obstore
from datetime import timedelta
from clips import blobs
from clips.postgres import Session, connect_pool
moment, dsn, folder = sys.argv[1:]

def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), 9)

async def deleted_then_die(*arguments):
    await deleting(*arguments)
    die()

deleting = obstore.delete_async
if moment == "noted":
    obstore.put_async = die
elif moment == "written":
    blobs._make_durable = die
else:
    obstore.delete_async = deleted_then_die

async def main():
    store = blobs.BlobStore.from_url(folder)
    async with connect_pool(dsn, Session("dying")) as pool:
        await store.put(pool, b"a photo, let us say", "image/png")
        await store.collect(pool, timedelta(0))

asyncio.run(main())
"""


@pytest.mark.parametrize(("moment", "left"), [("noted", set()), ("written", {NAME}), ("deleted", set())])
async def test_a_death_between_the_steps_leaves_nothing_behind(
    blobs: BlobStore, pool: Pool, dsn: str, folder: Path, moment: str, left: set[str]
):
    died = await asyncio.create_subprocess_exec(sys.executable, "-c", DYING, moment, dsn, str(folder))
    assert await died.wait() == -SIGKILL
    assert await names(pool) == {NAME}
    assert files(folder) == left
    # It can be put again, and it can be collected.
    assert await blobs.put(pool, CONTENT, "image/png") == NAME
    assert await blobs.get(NAME) == CONTENT
    assert (await blobs.collect(pool, NOW)).blobs == 1
    assert await names(pool) == set()
    assert not place(folder, NAME).exists()


async def test_collection_sweeps_what_killed_writers_left(blobs: BlobStore, pool: Pool, folder: Path):
    await blobs.put(pool, CONTENT, "image/png")
    old, fresh = (place(folder, NAME).with_name(f"{NAME}#{number}") for number in (1, 2))
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    await blobs.collect(pool, NOW)  # whatever the grace: someone may be writing the fresh one right now
    assert (old.exists(), fresh.exists()) == (False, True)


@pytest.mark.parametrize("url", ["memory://", "file://{folder}/a%20place", "{folder}/a place"])
async def test_addresses_that_work(url: str, folder: Path, pool: Pool):
    blobs = BlobStore.from_url(url.format(folder=folder))
    await blobs.probe()
    assert await blobs.put(pool, CONTENT, "image/png") == NAME
    assert await blobs.get(NAME) == CONTENT
    assert (await blobs.collect(pool, NOW)).blobs == 1


@pytest.mark.parametrize("url", ["ftp://host/blobs", "/proc/nowhere", "file:///proc/nowhere", "s3:///"])
def test_addresses_that_do_not_work(url: str):
    with pytest.raises(SetupError, match=f"ZOETROPE_BLOBS: {url} cannot hold blobs: "):
        BlobStore.from_url(url)


async def test_a_full_disk_may_be_tried_again(small_disk: Path, pool: Pool):
    blobs = BlobStore.from_url(str(small_disk / "blobs"))
    with pytest.raises(RetryableError, match=r"did not take a blob: .*No space left"):
        await blobs.put(pool, bytes(20 << 20), "video/mp4")
    assert await blobs.put(pool, CONTENT, "video/mp4") == NAME
    assert (await blobs.collect(pool, NOW)).blobs == 2


async def test_a_store_that_gives_back_other_bytes(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch):
    put = obstore.put_async

    async def scramble(store: obstore.store.ObjectStore, path: str, _: AsyncIterator[bytes]) -> object:
        return await put(store, path, b"other bytes")

    monkeypatch.setattr(obstore, "put_async", scramble)
    with pytest.raises(SetupError, match="gives back other bytes"):
        await blobs.probe()
