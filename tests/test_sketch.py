"""The sketch engine: what it reads from words, that its camera never leaves the photo, and what the seeds decide."""

import asyncio
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from clips.domain import Camera, ClipSpec, Plan, Strength
from clips.errors import CancelledError
from generator.engines.base import Job, TakeSeed, Variation
from generator.engines.moves import UNASKED, Moves, read_moves
from generator.engines.shot import Shot, noise_of
from generator.engines.sketch import CHUNK, SketchEngine

SAMPLE = Path(__file__).parents[1] / "samples" / "raccoon.jpg"
ENGINE = SketchEngine()
PLAN = Plan(160, 90, 48, 24, 1)


@dataclass
class Film:
    """A sink and a context in one: keeps the frames, cancels after so many chunks."""

    cancel_after: int | None = None
    takes: dict[int, list[NDArray[np.uint8]]] = field(default_factory=lambda: defaultdict(list))
    progress: list[tuple[str, int, int]] = field(default_factory=list)
    asked: int = 0

    def frames(self, take: int, frames: NDArray[np.uint8]) -> None:
        self.takes[take].append(frames)

    def file(self, take: int, path: Path) -> None:
        raise AssertionError(f"take {take} comes as frames, not as {path}")

    def sound(self, take: int, samples: NDArray[np.float32], rate: int) -> None:
        raise AssertionError("a sketch is silent")

    def report(self, phase: str, done: int, total: int) -> None:
        self.progress.append((phase, done, total))

    def raise_if_cancelled(self) -> None:
        self.asked += 1
        if self.cancel_after is not None and self.asked > self.cancel_after:
            raise CancelledError("cancelled")

    def take(self, index: int = 0) -> NDArray[np.uint8]:
        return np.concatenate(self.takes[index])


def job(motion: str, *takes: TakeSeed, plan: Plan = PLAN, photo: Path = SAMPLE, camera: Camera | None = None) -> Job:
    return Job(ClipSpec("sketch", motion=motion, camera=camera), plan, {"photo": photo}, takes or (TakeSeed(0, 1),))


async def filmed(motion: str, *takes: TakeSeed, plan: Plan = PLAN, photo: Path = SAMPLE) -> Film:
    film = Film()
    await ENGINE.render(job(motion, *takes, plan=plan, photo=photo), film, film)
    return film


# ---- words


@pytest.mark.parametrize(
    ("motion", "wanted"),
    [
        ("zoom in", Moves(zoom=1)),
        ("Camera slowly zooms in on her face", Moves(zoom=0.6)),
        ("push in", Moves(zoom=1)),
        ("the camera moves closer", Moves(zoom=1)),
        ("zoom out quickly", Moves(zoom=-1.6)),
        ("pull back to reveal the valley", Moves(zoom=-1)),
        ("dolly out", Moves(zoom=-1)),
        ("camera pans to the left", Moves(pan=-1)),
        ("tracking slowly right", Moves(pan=0.6)),
        ("pan from left to right", Moves(pan=1)),
        ("pan right to left", Moves(pan=-1)),
        ("slow zoom in while panning left", Moves(zoom=0.6, pan=-0.6)),
        ("tilt up, then pull back", Moves(tilt=-1, zoom=-1)),
        ("tilting downwards", Moves(tilt=1)),
        ("leaves sway in a gentle breeze", Moves(sway=0.6)),
        ("handheld shot, wind in her hair", Moves(handheld=1, sway=1)),
        ("zoom in, no panning", Moves(zoom=1)),
        ("don't zoom, pan left", Moves(pan=-1)),
        ("static camera, waves on the water", Moves(sway=1)),
        ("no camera movement", Moves()),
        ("", UNASKED),
        ("a happy raccoon", UNASKED),
        ("the japanese pancake", UNASKED),
    ],
)
def test_reads_moves(motion: str, wanted: Moves) -> None:
    assert read_moves(ClipSpec("sketch", motion=motion)) == wanted


def test_named_move_decides_and_words_add_sway() -> None:
    spec = ClipSpec("sketch", motion="zoom in, windy", camera=Camera.PAN_LEFT, strength=Strength.HIGH)
    assert read_moves(spec) == Moves(pan=-1.5, sway=1.5)
    assert read_moves(ClipSpec("sketch", motion="zoom in", camera=Camera.STATIC)) == Moves()
    assert {camera: read_moves(ClipSpec("sketch", camera=camera)) for camera in Camera}[Camera.TILT_UP] == Moves(
        tilt=-1
    )


def test_what_is_to_be_avoided_is_left_out() -> None:
    assert read_moves(ClipSpec("sketch", motion="zoom in, pan left", avoid="zooming, shaky")) == Moves(pan=-1)


@given(st.text(max_size=200))
def test_any_words_are_read(text: str) -> None:
    moves = read_moves(ClipSpec("sketch", motion=text, avoid=text[::-1]))
    assert all(abs(amount) <= 2 for amount in (moves.zoom, moves.pan, moves.tilt, moves.sway, moves.handheld))


# ---- the camera

amounts = st.floats(-1.6, 1.6)


@settings(deadline=None, max_examples=60)
@given(
    st.builds(Moves, amounts, amounts, amounts, st.floats(0, 2), st.floats(0, 2)),
    st.tuples(st.integers(32, 200), st.integers(32, 200)),
    st.integers(2, 60),
    st.integers(0, 2**63),
)
def test_camera_never_leaves_the_photo(moves: Moves, half: tuple[int, int], frames: int, seed: int) -> None:
    plan = Plan(2 * half[0], 2 * half[1], frames, 24, 1)
    shot = Shot(moves, plan, noise_of(TakeSeed(0, seed)))
    assert 1 <= shot.zoom.min() <= shot.zoom.max() < 3.5
    for number in {0, frames // 3, frames // 2, frames - 1}:
        x, y = shot.maps(number, 500, 300)
        assert x.shape == y.shape == (plan.height, plan.width)
        assert -0.5 <= x.min() < x.max() <= 499.5
        assert -0.5 <= y.min() < y.max() <= 299.5


def center(shot: Shot, number: int) -> tuple[float, float, float]:
    """Where a frame looks (x, y) and how wide it sees, in shares of the photo."""
    x, y = shot.maps(number, 1000, 1000)
    middle = x.shape[0] // 2, x.shape[1] // 2
    return float(x[middle]) / 1000, float(y[middle]) / 1000, float(x[middle[0], -1] - x[middle[0], 0]) / 1000


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_moves_go_where_they_say(seed: int) -> None:
    def ends(moves: Moves) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        shot = Shot(moves, PLAN, noise_of(TakeSeed(0, seed)))
        return center(shot, 0), center(shot, PLAN.frames - 1)

    first, last = ends(Moves(zoom=1))
    assert last[2] < first[2] - 0.05
    first, last = ends(Moves(zoom=-1))
    assert last[2] > first[2] + 0.05
    first, last = ends(Moves(pan=1))
    assert last[0] > first[0] + 0.05
    first, last = ends(Moves(pan=-1))
    assert last[0] < first[0] - 0.05
    first, last = ends(Moves(tilt=-1))
    assert last[1] < first[1] - 0.05
    first, last = ends(Moves(tilt=1))
    assert last[1] > first[1] + 0.05


def test_motion_is_smooth() -> None:
    """No jump: each step of the view differs little from the one before."""
    shot = Shot(Moves(zoom=1.5, pan=1.5, handheld=1, sway=1), PLAN, noise_of(TakeSeed(0, 9)))
    views = np.array([center(shot, number) for number in range(PLAN.frames)])
    assert np.abs(np.diff(views, n=2, axis=0)).max() < 0.004


async def test_static_breathes_but_does_not_freeze() -> None:
    frames = (await filmed("static")).take().astype(int)
    steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert 0.1 < steps.mean() < 3
    assert steps.max() < 4


async def test_no_border_shows(tmp_path: Path) -> None:
    Image.new("RGB", (400, 225), (200, 180, 160)).save(tmp_path / "plain.png")
    film = await filmed("fast pull back, handheld, wind, pan right, tilt up", photo=tmp_path / "plain.png")
    assert np.unique(film.take().reshape(-1, 3), axis=0).tolist() == [[200, 180, 160]]


# ---- takes, seeds, variations


async def test_same_seed_same_frames_and_takes_differ() -> None:
    film = await filmed("zoom in", TakeSeed(0, 7), TakeSeed(1, 8), TakeSeed(2, 9))
    again = await filmed("zoom in", TakeSeed(2, 9))
    assert [film.take(index).shape for index in range(3)] == [(48, 90, 160, 3)] * 3
    assert np.array_equal(film.take(2), again.take(2))
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert np.abs(film.take(one)[-1].astype(int) - film.take(other)[-1]).mean() > 4


async def test_variation_is_near_when_subtle_and_far_when_strong() -> None:
    shares = (0.0, 0.15, 0.6, 1.0)
    takes = [
        TakeSeed(0, 7),
        *(TakeSeed(1 + i, 7, (Variation(99, share),)) for i, share in enumerate(shares)),
        TakeSeed(9, 99),
    ]
    film = await filmed("zoom in, wind", *takes)
    away = [np.abs(film.take(1 + i).astype(int) - film.take(0)).mean() for i in range(len(shares))]
    assert away[0] == 0
    assert 0 < away[1] < away[2] < away[3]
    assert np.array_equal(film.take(4), film.take(9))


async def test_reports_progress_and_streams_small_chunks() -> None:
    film = await filmed("pan left", TakeSeed(3, 1), TakeSeed(5, 2))
    assert [done for _, done, _ in film.progress] == list(range(CHUNK, 97, CHUNK))
    assert {(phase, total) for phase, _, total in film.progress} == {("step", 96)}
    assert {len(chunk) for chunks in film.takes.values() for chunk in chunks} == {CHUNK}
    assert set(film.takes) == {3, 5}


async def test_member_cancels() -> None:
    film = Film(cancel_after=3)
    with pytest.raises(CancelledError):
        await ENGINE.render(job("zoom in"), film, film)
    assert len(film.take()) == 3 * CHUNK


async def test_cancelled_task_has_ended_its_thread() -> None:
    film, started, go_on = Film(), threading.Event(), threading.Event()

    class Slow(Film):
        def frames(self, take: int, frames: NDArray[np.uint8]) -> None:
            super().frames(take, frames)
            started.set()
            go_on.wait(60)

    slow = Slow()
    task = asyncio.create_task(ENGINE.render(job("zoom in"), slow, film))
    await asyncio.to_thread(started.wait, 60)
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    count = len(slow.take())
    await asyncio.sleep(0.1)
    assert len(slow.take()) == count < PLAN.frames


async def test_tall_and_tiny_photos(tmp_path: Path) -> None:
    Image.effect_noise((64, 200), 60).convert("RGB").save(tmp_path / "tall.png")
    plan = Plan(270, 854, 24, 24, 1)
    film = await filmed("zoom in", plan=plan, photo=tmp_path / "tall.png")
    assert film.take().shape == (24, 854, 270, 3)
