"""A model warmed up: what is compiled is compiled before a member waits, for all sizes, aspects and lengths."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import torch
from engine_harness import Collected, Told, failing, job_of
from families import FAMILIES
from torch import fx, nn

from clips.catalog import Catalog, EngineKind, Speed
from clips.domain import ClipSpec, Size
from clips.errors import CancelledError
from clips.lengths import FrameRule
from generator.engines.diffusers import speed
from generator.engines.diffusers.runner import Runner
from generator.engines.diffusers.trial import clips_to_try

TINIES = {tiny.entry: tiny for tiny in FAMILIES}
COMPILED = ("wan-2.1-i2v-480p", "ltx-video-0.9.5", "hunyuan-1.5-480p")
"""Not all: following a graph for any shape takes seconds. SkyReels' is like Wan's; LTX-2's would take half a minute."""
PHOTOS = ((16, 9), (9, 16), (1, 1), (4, 5))


@dataclass
class Compiler:
    """A backend that compiles nothing and counts what it was given."""

    graphs: list[fx.GraphModule] = field(default_factory=list[fx.GraphModule])

    def __call__(self, graph: fx.GraphModule, _: object) -> object:
        self.graphs.append(graph)
        return graph.forward


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compiler]:
    """What blocks are compiled with. Beyond the limit it would be given nothing, silently, and so all of that fails."""
    compiler = Compiler()
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)  # pages for each graph
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=compiler))
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):  # pyright: ignore[reportPrivateUsage]
        yield compiler
    torch._dynamo.reset()  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
def plain_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it does not matter what a compiled block is."""

    def same(function: object, **_: object) -> object:
        return function

    monkeypatch.setattr(torch, "compile", same)


@pytest.fixture(autouse=True)
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the presets are no CPU's."""
    monkeypatch.setitem(speed._ATTENTION, Speed.BALANCED, ())  # pyright: ignore[reportPrivateUsage]


def loaded(entry: str, folder: Path) -> Runner:
    """A tiny model with two sizes and five lengths."""
    tiny = TINIES[entry]
    model = tiny.model(tiny.saved(folder))
    side, step = model.multiple, model.frames.step
    small = {
        "fps": 1,
        "sizes": {Size.P480: (7 * side, 5 * side), Size.P720: (9 * side, 6 * side)},
        "default_size": Size.P480,
        "price": {Size.P480: 1.0, Size.P720: 1.0},
        "frames": FrameRule(offset=1, step=step, min=1 + step, max=1 + 5 * step),
    }
    return Runner.load(model.model_copy(update=small), "cpu", Told())


def warmed(runner: Runner, told: Told) -> None:
    """Pull the levers that there are on a CPU for a test."""
    runner.speed_up(Speed.BALANCED, told)


def network_of(runner: Runner) -> nn.Module:
    """What the steps call."""
    return runner._pipe.transformer  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("entry", COMPILED)
def test_after_the_warm_up_no_size_aspect_or_length_is_compiled_again(
    entry: str, shelf: Path, photo: Path, compiler: Compiler
) -> None:
    runner, told = loaded(entry, shelf), Told()
    warmed(runner, told)
    assert compiler.graphs
    assert told.reports == [
        ("warm", 0, 4),
        ("warm", 1, 4),
        ("warm", 2, 4),
        ("warm", 2, 4),
        ("warm", 3, 4),
        ("warm", 4, 4),
    ]
    known = len(compiler.graphs)
    model = runner._model  # pyright: ignore[reportPrivateUsage]
    for size, seconds, aspect in zip((Size.P480, Size.P720) * 2, (0, 60, 9, 25), PHOTOS, strict=True):
        plan = model.plan(ClipSpec(model.name, size=size, seconds=seconds), aspect)
        runner.render(job_of(photo, 7, plan=plan), Collected(), Told())
        assert len(compiler.graphs) == known, plan


def test_what_is_tried_differs_in_all_that_a_member_can_choose() -> None:
    for model in Catalog.load():
        if model.engine is not EngineKind.DIFFUSERS:
            continue
        usual, *others = clips_to_try(model, compiled=True)
        assert clips_to_try(model, compiled=False) == [usual]
        if model.free_aspect:
            (other,) = others
            assert other.width < other.height
            assert (other.width, other.height) != (usual.height, usual.width), "as many tokens would teach nothing"
            assert other.width != usual.width and other.height != usual.height
            assert other.width * other.height <= usual.width * usual.height, "the smallest"
            assert other.frames == model.frames.snap(0)
            assert (other.frames < usual.frames) == (model.shortest < min(5, model.longest)), model.name


@pytest.mark.usefixtures("plain_compiler")
def test_a_cancel_ends_the_warm_up_after_a_step(shelf: Path) -> None:
    runner, told = loaded(COMPILED[0], shelf), Told(cancel_at=lambda report: report == ("warm", 3, 4))
    with pytest.raises(CancelledError):
        warmed(runner, told)
    assert told.reports[-1] == ("warm", 3, 4)


@pytest.mark.usefixtures("plain_compiler")
@pytest.mark.parametrize("after", [0, 4])
def test_too_little_memory_in_the_warm_up_is_a_renders_to_mend(shelf: Path, after: int) -> None:
    runner = loaded(COMPILED[0], shelf)
    with failing(network_of(runner), [torch.OutOfMemoryError("CUDA out of memory")], after) as calls:
        warmed(runner, Told())
    assert len(calls) == after + 1, "nothing larger is tried"
    assert runner.manner["speed"] == "native attention, compiled blocks"


@pytest.mark.usefixtures("plain_compiler")
def test_blocks_that_fail_at_another_shape_are_let_go(shelf: Path, photo: Path) -> None:
    runner = loaded(COMPILED[0], shelf)
    with failing(network_of(runner), [RuntimeError("Constraints violated")], after=4):
        warmed(runner, Told())
    assert runner.manner["speed"] == "native attention"
