"""A real generator with a model on the host's own server: killed anywhere, stopped, cancelled, without its server."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from clips import hosted_jobs, library, queue
from clips.checkpoints import Checkpoint
from clips.domain import Plan, RequestId, TakeState
from clips.postgres import Pool
from clips.servers import Dialect
from clips.settings import Settings
from generator.engines.videos_api.cluster import Cluster
from tests.generator.studio import GUILD, SOON, Studio, studio
from tests.remote.rehearsal import model_on
from tests.remote.video_server import FakeServer, Trouble, serving
from zoetrope.doctor import examine

PLAN = Plan(width=64, height=48, frames=17, fps=16, credits=20)


@pytest.fixture
async def room(dsn: str, pool: Pool, tmp_path: Path) -> AsyncGenerator[Studio]:
    made = await studio(dsn, pool, tmp_path)
    yield made
    await made.promises_hold()


@pytest.fixture
async def fake(clip: bytes, tmp_path: Path) -> AsyncGenerator[FakeServer]:
    async with serving(FakeServer(Dialect.SGLANG, clip)) as fake:
        write_catalog(tmp_path / "catalog.toml", fake.url)
        yield fake


def write_catalog(path: Path, url: str) -> None:
    path.write_text(f"""
        [models.wan-cluster]
        title = "Wan on the cluster"
        summary = "for these tests"
        engine = "videos-api"
        licence = "Apache-2.0"
        goals = []
        fps = 16
        multiple = 16
        frames = {{ offset = 1, step = 4, min = 17, max = 81 }}
        sizes = {{ 480p = [832, 480] }}
        default_size = "480p"
        price = {{ 480p = 16.0 }}
        accepts = ["motion", "seed"]
        server = {{ url = "{url}", dialect = "sglang" }}
    """)


def settings(room: Studio, **more: str) -> dict[str, str]:
    return {"catalog": str(room.folder / "catalog.toml"), "models": "wan-cluster", "lease_seconds": SOON, **more}


async def asked(room: Studio) -> RequestId:
    return await room.ask(PLAN, model="wan-cluster")


async def the_one_clip(room: Studio, request: RequestId) -> None:
    """A request of one take has the clip that the server made, charged once."""
    [take] = await room.ended(request)
    assert take.state is TakeState.DONE
    clip = await library.clip(room.pool, GUILD, take.take_id)
    assert clip is not None
    assert (clip.recipe["engine"], clip.recipe["seed"]) == ("videos-api", 7)
    assert await room.pool.fetchval("SELECT frames FROM clips") == 16
    assert await room.pool.fetchval("SELECT count(*) FROM entries WHERE reason = 'settle' AND amount > 0") == 2


@pytest.mark.parametrize(
    ("checkpoint", "renders"),
    [(Checkpoint.CREATED, 2), (Checkpoint.REMEMBERED, 1), (Checkpoint.FETCHED, 1)],
)
async def test_killed_anywhere_it_makes_one_clip_and_renders_again_only_what_nobody_knew_of(
    room: Studio, fake: FakeServer, checkpoint: Checkpoint, renders: int
):
    request = await asked(room)
    async with room.generator(**settings(room, kill_at=checkpoint)) as generator:
        assert await generator.ended() == -9, generator.said
    async with room.generator(**settings(room)):
        await the_one_clip(room, request)
    assert len(fake.created) == renders


async def test_stopped_in_the_middle_it_leaves_the_job_to_the_next(room: Studio, fake: FakeServer):
    fake.trouble = Trouble.NEVER_ENDS
    request = await asked(room)
    async with room.generator(**settings(room, stop_seconds="0")) as generator:
        await room.rendering(request)
        assert await generator.stopped() == 0, generator.said
    fake.trouble = None
    async with room.generator(**settings(room)):
        await the_one_clip(room, request)
    assert len(fake.created) == 1
    assert "DELETE" not in " ".join(fake.asked)


async def test_a_cancel_reaches_the_server(room: Studio, fake: FakeServer):
    fake.trouble = Trouble.NEVER_ENDS
    request = await asked(room)
    async with room.generator(**settings(room)):
        await room.rendering(request)
        await queue.cancel(room.pool, request)
        [take] = await room.ended(request)
    assert take.state is TakeState.CANCELLED
    assert fake.asked[-1] == "DELETE /v1/videos/video_gen_1"


async def test_without_its_server_the_model_is_not_offered_and_the_host_is_told(room: Studio):
    write_catalog(room.folder / "catalog.toml", "http://127.0.0.1:9")
    request = await asked(room)
    async with room.generator(**settings(room)) as generator:
        await generator.says("wan-cluster on the sglang server at http://127.0.0.1:9 is switched off")
        await generator.says(" runs ")
        assert "wan-cluster" not in await queue.alive_models(room.pool)
        [(_, trouble)] = await queue.troubles(room.pool)
        assert "asking the sglang server at http://127.0.0.1:9 how it is failed" in trouble
    [take] = (await room.read(request)).takes
    assert (take.state, take.attempts) == (TakeState.PARKED, 0)


async def test_a_server_that_comes_back_is_offered_again(clip: bytes, pool: Pool):
    away = FakeServer(Dialect.FASTVIDEO, clip, key="sk-cluster", url="http://127.0.0.1:9")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLUSTER_KEY", "sk-cluster")
        async with serving(away) as fake, Cluster.open(model_on(fake.entry), pool) as cluster:
            assert cluster.gate.open
            fake.key = "sk-another"
            await cluster.gate.examine()
            assert cluster.gate.trouble is not None
            fake.key = "sk-cluster"
            await cluster.gate.examine()
            assert cluster.gate.open


async def test_what_is_over_is_forgotten_on_the_server(room: Studio, fake: FakeServer):
    request = await asked(room)
    async with room.generator(**settings(room)):
        [take] = await room.ended(request)
    assert list(fake.jobs) == ["video_gen_1"]
    async with Cluster.open(model_on(fake.entry), room.pool) as cluster:
        fake.trouble = Trouble.DELETE_FAILS
        await cluster.tidy()
        assert await hosted_jobs.recall(room.pool, take.take_id) is not None, "it was not heard"
        fake.trouble = None
        await cluster.tidy()
        await cluster.tidy()
    assert fake.jobs == {}
    assert fake.asked.count("DELETE /v1/videos/video_gen_1") == 2
    assert await hosted_jobs.recall(room.pool, take.take_id) is None


async def test_the_doctor_looks_at_the_server(room: Studio, fake: FakeServer):
    here = Settings(catalog=room.folder / "catalog.toml", models="wan-cluster", database_url=room.dsn, home=room.folder)
    [finding] = [one async for one in examine(here) if "server" in one.found]
    assert (finding.found, finding.fix) == (f"the sglang server at {fake.url} is up", "")
    write_catalog(room.folder / "catalog.toml", "http://127.0.0.1:9")
    [finding] = [one async for one in examine(here) if "server" in one.found]
    assert finding.fix.startswith("Start it again: asking the sglang server at http://127.0.0.1:9 how it is failed")
