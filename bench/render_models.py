"""Further models of `bench.render`: plain diffusers beside our runner in one process, on weights made in its memory.

`python -m bench.render_models MODEL DEVICE SECONDS`, of which the last end it. On a CPU the model is a small one, to
see that all of this runs.
"""

import faulthandler
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils.export_utils import export_to_video
from PIL import Image
from torch import nn

from bench.memory import contender
from bench.random_models import Maker, ltx_2, svd_xt, wan_21, wan_22
from bench.render_ways import PHOTO, PROMPT, Kept, Notes, settle
from clips.catalog import Catalog, Model, Placement, Speed
from clips.domain import ClipSpec, Plan
from clips.photo import fit_photo
from clips.video import Encoder
from generator.engines.base import Job, TakeSeed
from generator.engines.diffusers.family import family_of
from generator.engines.diffusers.memory import MemoryPlan
from generator.engines.diffusers.placing import denoisers
from generator.engines.diffusers.runner import Runner

Call = Callable[[DiffusionPipeline, Image.Image, Plan, int, float], Any]


@dataclass(frozen=True)
class Case:
    """What is rendered of a model, and how plain diffusers is asked for it."""

    make: Callable[[Maker], DiffusionPipeline]
    plain: Call
    plan: Plan
    steps: int
    guidance: float


def _plain_wan(pipe: DiffusionPipeline, photo: Image.Image, plan: Plan, steps: int, guidance: float) -> object:
    return _asked(pipe, photo, plan, steps, prompt=PROMPT, negative_prompt="", guidance_scale=guidance)


def _plain_svd(pipe: DiffusionPipeline, photo: Image.Image, plan: Plan, steps: int, _: float) -> object:
    return (_asked(pipe, photo, plan, steps, fps=plan.fps, decode_chunk_size=8),)  # it gives the frames themselves


def _plain_ltx_2(pipe: DiffusionPipeline, photo: Image.Image, plan: Plan, steps: int, _: float) -> object:
    return _asked(
        pipe,
        None,
        plan,
        steps,
        conditions=[LTX2VideoCondition(frames=photo, crf=0)],
        prompt=PROMPT,
        frame_rate=plan.fps,
        guidance_scale=1.0,
        stg_scale=0.0,
        modality_scale=1.0,
        audio_guidance_scale=1.0,
        audio_stg_scale=0.0,
        audio_modality_scale=1.0,
        spatio_temporal_guidance_blocks=[1],
    )


CASES: Mapping[str, Case] = {
    "wan-2.1-i2v-480p": Case(wan_21, _plain_wan, Plan(832, 480, 81, 16, 1), 2, 5.0),
    "wan-2.2-i2v-a14b-4step": Case(wan_22, _plain_wan, Plan(832, 480, 81, 16, 1), 4, 1.0),
    "ltx-2-distilled": Case(ltx_2, _plain_ltx_2, Plan(768, 512, 121, 24, 1), 8, 1.0),
    "svd-xt": Case(svd_xt, _plain_svd, Plan(1024, 576, 25, 7, 1), 10, 3.0),
}
_SMALL = {"svd-xt": Plan(128, 64, 25, 7, 1)}
_SMALL_USUAL = Plan(96, 64, 17, 24, 1)


def measure(name: str, device: str) -> dict[str, float]:
    """Figures by way and name: `plain wall`, `balanced step` …"""
    case, cuda = CASES[name], device.startswith("cuda")
    plan = case.plan if cuda else _SMALL.get(name, _SMALL_USUAL)
    pipe = case.make(Maker(device, small=not cuda))
    pipe.set_progress_bar_config(disable=True)
    watch = Watch(pipe, cuda=cuda)
    said: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        clip = Path(folder, "clip.mp4")
        with Image.open(PHOTO) as photo:
            fitted = fit_photo(photo.convert("RGB"), plan.width, plan.height)
        ways: dict[str, Callable[[int], None]] = {"plain": lambda steps: _plain(case, pipe, fitted, plan, steps, clip)}
        family = family_of(model := _model(name, case))(pipe, model)
        memory = MemoryPlan(Placement.WHOLE, tiled=False, vram=0, ram=0, held=0, kept=0)
        runner = Runner(model, family, pipe, torch.device(device), (memory,), memory)
        for speed in (Speed.EXACT, Speed.BALANCED) if cuda else (Speed.EXACT,):
            ways[speed.value] = lambda _: _ours(runner, plan, clip)
        for way, render in ways.items():
            if way == Speed.BALANCED:
                runner.speed_up(Speed.BALANCED, Notes())
            if cuda:
                render(1 if way == "plain" else case.steps)
                torch.cuda.reset_peak_memory_stats()
            watch.take()
            began = time.perf_counter()
            render(case.steps)
            settle(device)
            said[f"{way} wall"] = time.perf_counter() - began
            said[f"{way} denoise"] = watch.take()
            said[f"{way} gpu"] = torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0
    return said


def _plain(case: Case, pipe: DiffusionPipeline, photo: Image.Image, plan: Plan, steps: int, clip: Path) -> None:
    with torch.no_grad():
        frames = list(case.plain(pipe, photo, plan, steps, case.guidance)[0][0])
    export_to_video(frames, str(clip), fps=plan.fps)


def _ours(runner: Runner, plan: Plan, clip: Path) -> None:
    job = Job(ClipSpec(model="bench", motion=PROMPT), plan, {"photo": PHOTO}, [TakeSeed(0, 7)])
    with Encoder(clip, plan.width, plan.height, plan.fps) as encoder:
        runner.render(job, Kept(encoder), Notes())
        encoder.finish()


def _asked(pipe: DiffusionPipeline, photo: Image.Image | None, plan: Plan, steps: int, **further: object) -> object:
    call: Any = pipe
    return call(
        **({"image": photo} if photo is not None else {}),
        height=plan.height,
        width=plan.width,
        num_frames=plan.frames,
        num_inference_steps=steps,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="np",
        return_dict=False,
        **further,
    )


def _model(name: str, case: Case) -> Model:
    return (
        Catalog.load()
        .find(name)
        .model_copy(update={"steps": case.steps, "guidance": case.guidance, "sigmas": (), "loras": ()})
    )


class Watch:
    """Seconds in the denoisers, by the device's own clock."""

    def __init__(self, pipe: DiffusionPipeline, *, cuda: bool) -> None:
        self._cuda = cuda
        self._spans: list[tuple[Any, Any]] = []
        for part in denoisers(pipe):
            part.register_forward_pre_hook(self._begin)
            part.register_forward_hook(self._end)

    def take(self) -> float:
        """Since the last time."""
        if self._cuda:
            torch.cuda.synchronize()
            total = sum(first.elapsed_time(last) for first, last in self._spans) / 1000
        else:
            total = sum(last - first for first, last in self._spans)
        self._spans.clear()
        return total

    def _begin(self, *_: object) -> None:
        self._began = self._now()

    def _end(self, module: nn.Module, inputs: object, made: object) -> None:
        del module, inputs, made
        self._spans.append((self._began, self._now()))

    def _now(self) -> Any:  # noqa: ANN401 - an event or seconds
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


if __name__ == "__main__":
    faulthandler.dump_traceback_later(int(sys.argv[3]), exit=True)
    if not sys.argv[2].startswith("cuda"):
        torch.set_num_threads(1)
    contender(lambda: measure(sys.argv[1], sys.argv[2]))
