"""The engine `videos-api` against servers on loopback: each dialect, and everything that goes wrong on the way."""

import logging
from collections.abc import AsyncGenerator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from clips.errors import CancelledError, RetryableError, SetupError, StoppingError, SwitchedOffError
from clips.hosted_jobs import Order
from clips.servers import Dialect
from generator.engines.gates import Gate
from generator.engines.videos_api import engine as engines
from generator.engines.videos_api.engine import VideosApiEngine
from generator.engines.videos_api.server import VideoServer
from tests.remote.rehearsal import PLAN, Circumstances, Kept, Notes, at_once, job_in, model_on
from tests.remote.video_server import FakeServer, Trouble, serving


@pytest.fixture(params=Dialect)
async def server(request: pytest.FixtureRequest, clip: bytes) -> AsyncGenerator[FakeServer]:
    async with serving(FakeServer(request.param, clip)) as fake:
        yield fake


@pytest.fixture
async def fake(clip: bytes) -> AsyncGenerator[FakeServer]:
    async with serving(FakeServer(Dialect.VLLM_OMNI, clip)) as fake:
        yield fake


async def rendered(
    fake: FakeServer,
    folder: Path,
    *,
    seed: int = 7,
    context: Circumstances | None = None,
    memory: Notes | None = None,
    gate: Gate | None = None,
    silence: float = 5.0,
) -> Kept:
    """Render a take; what came of it."""
    kept = Kept()
    model = model_on(fake.entry)
    async with VideoServer.of(model) as server:
        engine = VideosApiEngine(model, server, gate or Gate("cluster", server.check), pace=at_once, silence=silence)
        await engine.render(job_in(folder, seed, memory or Notes()), kept, context or Circumstances())
    return kept


def unfinished_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix == ".part"]


async def test_each_take_is_asked_for_with_its_frames_and_its_seed(server: FakeServer, tmp_path: Path):
    for seed in (7, 8):
        kept = await rendered(server, tmp_path, seed=seed)
        assert kept.made[1].frames == 16
    size = {"width": "64", "height": "48"} if server.dialect is Dialect.VLLM_OMNI else {"size": "64x48"}
    common = {
        "prompt": "she smiles",
        "negative_prompt": "text",
        "num_frames": "17",
        "fps": "16",
        "num_inference_steps": "40",
        "guidance_scale": "3.5",
        **size,
    }
    assert [served.fields for served in server.created] == [common | {"seed": "7"}, common | {"seed": "8"}]
    with Image.open(BytesIO(server.created[0].photo)) as photo:
        assert photo.size == (PLAN.width, PLAN.height)


async def test_a_server_that_jumps_from_nothing_to_all_shows_how_long_it_usually_takes(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server.looks = 5
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(engines, "monotonic", lambda: float(next(clock)))
    context = Circumstances()
    await rendered(server, tmp_path, context=context)
    assert context.steps == sorted(set(context.steps))
    assert len(context.steps) == 4
    assert context.steps[0] < 50 < context.steps[-1] < 100


async def test_progress_that_a_server_tells_is_shown_as_told(fake: FakeServer, tmp_path: Path):
    fake.looks, fake.progress = 4, True
    context = Circumstances()
    await rendered(fake, tmp_path, context=context)
    assert context.steps == [41, 42, 43]


async def test_what_is_asked_for_is_remembered_and_waited_for_by_the_next_attempt(server: FakeServer, tmp_path: Path):
    memory = Notes()
    with pytest.raises(StoppingError):
        await rendered(server, tmp_path, context=Circumstances(StoppingError("it ends"), after=1), memory=memory)
    assert memory.said == ["intend", "remember video_gen_1"]
    kept = await rendered(server, tmp_path, memory=memory)
    assert kept.made[1].frames == 16
    assert len(server.created) == 1


async def test_a_cancel_aborts_the_job_on_the_server(server: FakeServer, tmp_path: Path):
    server.trouble = Trouble.NEVER_ENDS
    with pytest.raises(CancelledError):
        await rendered(server, tmp_path, context=Circumstances(CancelledError("by its member"), after=3))
    assert server.asked[-1] == "DELETE /v1/videos/video_gen_1"
    assert server.jobs == {}


async def test_a_restart_that_forgot_the_job_has_it_rendered_again(server: FakeServer, tmp_path: Path):
    memory = Notes()
    with pytest.raises(StoppingError):
        await rendered(server, tmp_path, context=Circumstances(StoppingError("it ends"), after=1), memory=memory)
    server.restart()
    await rendered(server, tmp_path, memory=memory)
    assert memory.said[2:] == ["forget video_gen_1", "intend", "remember video_gen_2", "settle"]
    assert [served.fields["seed"] for served in server.created] == ["7", "7"]


async def test_a_restart_during_the_wait_is_worth_another_attempt(fake: FakeServer, tmp_path: Path):
    class Restarting(Circumstances):
        def report(self, phase: str, done: int, total: int) -> None:
            fake.restart()

    fake.looks = 9
    with pytest.raises(RetryableError, match="does not know its job any more; the take is rendered again"):
        await rendered(fake, tmp_path, context=Restarting())
    assert len(fake.created) == 1


async def test_what_failed_there_is_deleted_before_it_is_asked_for_again(server: FakeServer, tmp_path: Path):
    server.trouble = Trouble.JOB_FAILS
    memory = Notes()
    for _ in range(2):
        with pytest.raises(RetryableError, match="failed to render: CUDA out of memory"):
            await rendered(server, tmp_path, memory=memory)
    told = [line for line in server.asked if not line.startswith("GET")]
    assert told == ["POST /v1/videos", "DELETE /v1/videos/video_gen_1", "POST /v1/videos"]
    assert memory.said[2:] == ["forget video_gen_1", "intend", "remember video_gen_2"]


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (Trouble.JOB_FAILS_AS_500, "failed to render: CUDA out of memory"),
        (Trouble.JOB_ABORTED, "somebody aborted the job"),
        (Trouble.CONTENT_GONE, "not there to download"),
    ],
)
async def test_what_may_pass_is_worth_another_attempt(fake: FakeServer, tmp_path: Path, trouble: Trouble, says: str):
    fake.trouble = trouble
    with pytest.raises(RetryableError, match=says):
        await rendered(fake, tmp_path)
    assert len(fake.created) == 1


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (Trouble.CREATE_REFUSED, r"refuses what the catalogue has us send \(status 400\): .*num_frames must be 4k\+1"),
        (Trouble.CONTENT_IS_JSON, "application/json, which is no video. See what its server puts out"),
        (Trouble.CONTENT_IS_HUGE, "2147483648 bytes, more than"),
        (Trouble.CONTENT_IS_NOISE, "what came does not play. See what its server puts out"),
    ],
)
async def test_what_the_host_has_to_mend_is_told_to_the_host(
    fake: FakeServer, tmp_path: Path, trouble: Trouble, says: str
):
    fake.trouble = trouble
    with pytest.raises(SetupError, match=says):
        await rendered(fake, tmp_path)
    assert unfinished_in(tmp_path) == []


async def test_a_server_that_stays_busy_has_the_take_wait_in_line(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fake.trouble = Trouble.CREATE_BUSY
    clock = iter(range(0, 100_000, 200))
    monkeypatch.setattr(engines, "monotonic", lambda: float(next(clock)))
    with pytest.raises(SwitchedOffError, match="takes no more clips now"):
        await rendered(fake, tmp_path)
    assert fake.created == []


async def test_an_attempt_that_finds_its_server_down_loses_nothing(tmp_path: Path):
    away = FakeServer(Dialect.SGLANG, b"", url="http://127.0.0.1:9")
    memory = Notes("video_gen_1", Order(None, {}, (), 0))
    with pytest.raises(SwitchedOffError, match="for progress failed"):
        await rendered(away, tmp_path, memory=memory)
    assert memory.external_id == "video_gen_1"


@pytest.mark.parametrize("trouble", [Trouble.CREATE_BUSY_ONCE, Trouble.LOOK_FAILS_ONCE, Trouble.CONTENT_CUT_ONCE])
async def test_what_passes_in_a_moment_is_waited_for(fake: FakeServer, tmp_path: Path, trouble: Trouble):
    fake.trouble = trouble
    kept = await rendered(fake, tmp_path)
    assert kept.made[1].frames == 16
    assert len(fake.created) == 1


@pytest.mark.parametrize("known", [True, False])
async def test_a_server_that_is_down_is_switched_off_until_it_is_back(fake: FakeServer, tmp_path: Path, *, known: bool):
    class GoingDown(Circumstances):
        def report(self, phase: str, done: int, total: int) -> None:
            if known is (phase == "step"):
                fake.trouble = Trouble.DOWN

    fake.looks = 9
    async with VideoServer.of(model_on(fake.entry)) as server:
        gate = Gate("cluster", server.check)
        with pytest.raises(SwitchedOffError, match="answered with status 502: bad gateway"):
            await rendered(fake, tmp_path, context=GoingDown(), gate=gate, silence=0.0)
        await gate.examine()
        assert not gate.open
        fake.trouble = None
        await gate.examine()
        assert gate.open


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (Trouble.CREATE_FAILS, "answered with status 500: this photo breaks it"),
        (Trouble.CREATE_CUT, "asking the vllm-omni server at .* for a clip failed"),
        (Trouble.LOOKS_FAIL, "answered with status 502: bad gateway"),
    ],
)
async def test_a_take_that_a_healthy_server_fails_loses_an_attempt_and_switches_nothing_off(
    fake: FakeServer, tmp_path: Path, trouble: Trouble, says: str
):
    fake.trouble = trouble
    memory = Notes()
    async with VideoServer.of(model_on(fake.entry)) as server:
        gate = Gate("cluster", server.check)
        for _ in range(2):
            with pytest.raises(RetryableError, match=says):
                await rendered(fake, tmp_path, memory=memory, gate=gate, silence=0.0)
            assert gate.open


async def test_a_clip_that_is_gone_is_rendered_again_by_the_next_attempt(fake: FakeServer, tmp_path: Path):
    fake.trouble = Trouble.CONTENT_GONE
    memory = Notes()
    with pytest.raises(RetryableError, match="not there to download"):
        await rendered(fake, tmp_path, memory=memory)
    assert fake.jobs == {}
    fake.trouble = None
    kept = await rendered(fake, tmp_path, memory=memory)
    assert kept.made[1].frames == 16
    assert len(fake.created) == 2


async def test_a_server_that_is_not_there_is_told_with_its_address(tmp_path: Path):
    away = FakeServer(Dialect.SGLANG, b"", url="http://127.0.0.1:9")
    with pytest.raises(SwitchedOffError, match=r"the sglang server at http://127\.0\.0\.1:9 for a clip failed"):
        await rendered(away, tmp_path)


async def test_a_job_without_an_end_is_aborted(fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake.trouble = Trouble.NEVER_ENDS
    clock = iter(range(0, 10_000_000, 400))
    monkeypatch.setattr(engines, "monotonic", lambda: float(next(clock)))
    with pytest.raises(RetryableError, match="did not finish within 900 s"):
        await rendered(fake, tmp_path)
    assert fake.asked[-1] == "DELETE /v1/videos/video_gen_1"


async def test_the_key_reaches_its_server_and_no_log(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    fake.key = "sk-cluster-secret"
    with pytest.raises(SetupError, match=r"CLUSTER_KEY: not set; wan-cluster needs it"):
        await rendered(fake, tmp_path)
    monkeypatch.setenv("CLUSTER_KEY", "sk-wrong-secret")
    with pytest.raises(SwitchedOffError, match=r"refuses the key\. Correct CLUSTER_KEY\.") as refused:
        await rendered(fake, tmp_path)
    monkeypatch.setenv("CLUSTER_KEY", "sk-cluster-secret")
    assert (await rendered(fake, tmp_path)).made[1].frames == 16
    fake.trouble = Trouble.CREATE_REFUSED
    with pytest.raises(SetupError, match="num_frames must be 4k") as echoed:
        await rendered(fake, tmp_path)
    assert "secret" not in caplog.text + str(refused.value) + str(echoed.value)


async def test_a_server_is_well_that_is_up_and_takes_the_key(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async with VideoServer.of(model_on(server.entry)) as ours:
        await ours.check()
    server.key = "sk-cluster-secret"
    monkeypatch.setenv("CLUSTER_KEY", "sk-wrong-secret")
    async with VideoServer.of(model_on(server.entry)) as ours:
        gate = Gate("cluster", ours.check)
        await gate.examine()
    assert gate.trouble is not None
    assert gate.trouble.endswith("refuses the key. Correct CLUSTER_KEY.")
    assert "secret" not in caplog.text
