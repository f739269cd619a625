"""A model warmed up: what is compiled is compiled before a member waits, for all sizes, aspects and lengths."""

import logging
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models import attention_dispatch
from diffusers.models.attention_dispatch import AttentionBackendName
from engine_harness import Collected, Told, failing, job_of
from families import FAMILIES
from torch import fx, nn
from torch.fx.experimental import _config as shapes_config
from torch.nn.functional import scaled_dot_product_attention

from clips.catalog import Catalog, EngineKind, Model, Speed
from clips.domain import ClipSpec, Size
from clips.errors import CancelledError
from clips.lengths import FrameRule
from generator.engines.diffusers import runner as runner_module
from generator.engines.diffusers import speed
from generator.engines.diffusers.family import Family
from generator.engines.diffusers.runner import Runner
from generator.engines.diffusers.trial import clips_to_try, speed_up

TINIES = {tiny.entry: tiny for tiny in FAMILIES}
COMPILED = ("wan-2.1-i2v-480p", "ltx-video-0.9.5", "hunyuan-1.5-480p", "hunyuan-i2v")
"""Not all: following a graph for any shape takes seconds. SkyReels' is like Wan's, FramePack's like Hunyuan's; LTX-2's
would take half a minute.
"""
CACHED = 40
"""Steps with which the first of them has a cache."""
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


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels of the preset as if they were here: FlashAttention as diffusers calls it, and cuDNN."""

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **_: object) -> torch.Tensor:
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        return scaled_dot_product_attention(q, k, v).transpose(1, 2)

    kernels = attention_dispatch._AttentionBackendRegistry._backends  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(attention_dispatch, "flash_attn_func", attend)
    monkeypatch.setattr(attention_dispatch, "_check_attention_backend_requirements", lambda _: None)
    monkeypatch.setitem(kernels, AttentionBackendName("_native_cudnn"), kernels[AttentionBackendName.NATIVE])
    monkeypatch.setitem(speed._ATTENTION, Speed.BALANCED, ("flash", "_native_cudnn"))  # pyright: ignore[reportPrivateUsage]


def loaded(entry: str, folder: Path, told: Told | None = None, **changes: object) -> Runner:
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
    return Runner.load(model.model_copy(update={**small, **changes}), "cpu", told or Told())


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
    model, made = runner._model, Collected()  # pyright: ignore[reportPrivateUsage]
    plans = [
        model.plan(ClipSpec(model.name, size=size, seconds=seconds), aspect)
        for size, seconds, aspect in zip((Size.P480, Size.P720) * 2, (0, 60, 9, 25), PHOTOS, strict=True)
    ]
    runner.render(job_of(photo, 7, plan=plans[0]), made, Told())
    exact = made.clip().astype(int)
    warmed(runner, told)
    assert told.reports == [("warm", done, 4) for done in (0, 1, 2, 2, 3, 4)]
    known = len(compiler.graphs)
    assert 0 < known <= 4, "of all blocks of a class, be it for those before which something else comes too"
    for plan in plans:
        made = Collected()
        runner.render(job_of(photo, 7, plan=plan), made, Told())
        assert len(compiler.graphs) == known, plan
        if plan == plans[0]:
            assert np.abs(made.clip() - exact).max() <= 1, "as many as bytes are rounded by"


def test_what_is_tried_differs_in_all_that_a_member_can_choose() -> None:
    for model in Catalog.load():
        if model.engine is not EngineKind.DIFFUSERS:
            continue
        usual, *others = clips_to_try(model)
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
def test_a_load_cancelled_in_its_warm_up_gives_the_weights_back(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights: list[weakref.ref[torch.Tensor]] = []

    def noted(model: Model, family: Family[Any], pipe: Any, *rest: Any) -> speed.Levers:
        weights.extend(weakref.ref(weight) for weight in pipe.transformer.parameters())
        return speed_up(model, family, pipe, *rest)

    monkeypatch.setattr(runner_module, "choose_speed", lambda *_: Speed.BALANCED)
    monkeypatch.setattr(runner_module, "speed_up", noted)
    told = Told(cancel_at=lambda report: report == ("warm", 3, 4))
    with pytest.raises(CancelledError) as error:
        loaded(COMPILED[0], shelf, told)
    assert weights and all(weight() is None for weight in weights)
    assert error.value.__traceback__, "which still refers to all that the load had at hand"


@pytest.mark.usefixtures("plain_compiler")
def test_what_only_a_render_compiles_is_compiled_for_every_shape_too(shelf: Path, photo: Path) -> None:
    def settings() -> tuple[int, bool]:
        limit = torch._dynamo.config.recompile_limit  # pyright: ignore[reportPrivateUsage]
        return limit, shapes_config.use_duck_shape

    runner, usual, seen = loaded(COMPILED[0], shelf), settings(), set[tuple[int, bool]]()
    network_of(runner).register_forward_pre_hook(lambda *_: seen.add(settings()))
    plan = clips_to_try(runner._model)[0]  # pyright: ignore[reportPrivateUsage]
    runner.render(job_of(photo, 7, plan=plan), Collected(), Told())
    assert seen == {usual}, "nothing is compiled"
    seen.clear()
    with failing(network_of(runner), [torch.OutOfMemoryError("CUDA out of memory")]):
        warmed(runner, Told())
    seen.clear()
    runner.render(job_of(photo, 7, plan=plan), Collected(), Told())
    assert seen == {(64, False)}
    assert settings() == usual


@pytest.mark.usefixtures("plain_compiler")
@pytest.mark.parametrize("after", [0, 4])
def test_too_little_memory_in_the_warm_up_is_a_renders_to_mend(shelf: Path, after: int) -> None:
    runner = loaded(COMPILED[0], shelf)
    with failing(network_of(runner), [torch.OutOfMemoryError("CUDA out of memory")], after) as calls:
        warmed(runner, Told())
    assert len(calls) == after + 1, "nothing larger is tried"
    assert runner.manner["speed"] == "native attention, compiled blocks"


@pytest.mark.usefixtures("plain_compiler")
@pytest.mark.parametrize(
    ("after", "kept"), [(0, "native attention, compiled blocks"), (9, "native attention, mag cache at 0.12")]
)
def test_what_fails_is_let_go_of_alone(after: int, kept: str, shelf: Path, caplog: pytest.LogCaptureFixture) -> None:
    runner, told = loaded(COMPILED[0], shelf, steps=CACHED), Told()
    with failing(network_of(runner), [RuntimeError("Constraints violated\nat length")], after):
        warmed(runner, told)
    assert runner.manner["speed"] == kept
    assert network_of(runner).is_cache_enabled == ("cache" in kept)
    assert caplog.messages[0].endswith(" here: Constraints violated")
    assert told.reports[-1] == ("warm", 6, 6) if after < 4 else ("warm", 4, 6)


def test_what_keeps_a_compiler_from_its_work_is_told(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("Failed to find C compiler.")

    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    runner = loaded(COMPILED[0], shelf, steps=CACHED)
    warmed(runner, Told())
    assert runner.manner["speed"] == "native attention, mag cache at 0.12"
    (message,) = caplog.messages
    assert message.endswith("attention, mag cache at 0.12, compiled blocks here: Failed to find C compiler.")


@pytest.mark.usefixtures("plain_compiler", "flash")
def test_a_kernel_that_takes_no_mask_gives_way_in_its_first_step(shelf: Path, caplog: pytest.LogCaptureFixture) -> None:
    runner, told = loaded("ltx-video-0.9.5", shelf), Told()
    with failing(network_of(runner), []) as calls:
        warmed(runner, told)
    assert runner.manner["speed"] == "native cudnn attention, compiled blocks"
    (message,) = caplog.messages
    assert message.endswith("with flash attention here: `attn_mask` is not supported for flash-attn 2.")
    assert told.reports[:4] == [("warm", 0, 5), ("warm", 0, 5), ("warm", 1, 5), ("warm", 1, 5)]
    assert told.reports[-1] == ("warm", 5, 5)
    assert len(calls) == 1 + 1 + 4, "a step each, and what is compiled"
