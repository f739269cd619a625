"""The two ways that `bench.render` compares: plain diffusers and our engine, on the same weights and photo."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanDecoder3d, WanEncoder3d
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
from diffusers.utils.export_utils import export_to_video
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from transformers import UMT5EncoderModel

from clips.catalog import Catalog, Model, Speed
from clips.domain import ClipSpec, Plan
from clips.errors import CancelledError
from clips.photo import fit_photo
from clips.video import Encoder
from generator.engines.base import Job, TakeSeed
from generator.engines.diffusers.engine import DiffusersEngine

PHOTO = Path(__file__).parents[1] / "samples" / "raccoon.jpg"
PROMPT = "the raccoon turns its head and sniffs the air, leaves rustle behind it"
PARTS: dict[str, type[nn.Module]] = {
    "text": UMT5EncoderModel,
    "photo": WanEncoder3d,
    "transformer": WanTransformer3DModel,
    "decoder": WanDecoder3d,
}

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Task:
    """What both ways render."""

    folder: Path
    device: str
    plan: Plan
    steps: int
    rounds: int

    @property
    def clip(self) -> Path:
        return self.folder / "clip.mp4"

    @property
    def plain_frames(self) -> Path:
        """Where the plain way leaves its frames, to be compared with ours."""
        return self.folder / f"plain-{self.plan.width}x{self.plan.height}-{self.steps}.npy"

    @property
    def model(self) -> Model:
        entry = Catalog.load().find("wan-2.2-ti2v-5b")
        return entry.model_copy(update={"repo": str(self.folder), "steps": self.steps})

    def job(self, *seeds: int, plan: Plan | None = None) -> Job:
        takes = [TakeSeed(index, seed) for index, seed in enumerate(seeds)]
        return Job(ClipSpec(model="bench", motion=PROMPT), plan or self.plan, {"photo": PHOTO}, takes)


class Stopwatch:
    """Seconds in each part of the model, by the device's own clock, for whoever calls it."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._cuda = device.startswith("cuda")
        self._spans: dict[str, list[Callable[[], float]]] = {name: [] for name in PARTS}
        for name, kind in PARTS.items():
            kind.forward = self._timed(name, kind.forward)

    def take(self) -> dict[str, float]:
        """The seconds since the last time."""
        settle(self._device)
        taken = {name: sum(span() for span in spans) for name, spans in self._spans.items()}
        for spans in self._spans.values():
            spans.clear()
        return taken

    def _timed(self, name: str, forward: Callable[..., object]) -> Callable[..., object]:
        def timed(*args: object, **kwargs: object) -> object:
            if self._cuda:
                first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                first.record()
                made = forward(*args, **kwargs)
                last.record()
                self._spans[name].append(lambda: first.elapsed_time(last) / 1000)
            else:
                began = time.perf_counter()
                made = forward(*args, **kwargs)
                seconds = time.perf_counter() - began
                self._spans[name].append(lambda: seconds)
            return made

        return timed


@dataclass
class Notes:
    """A context that keeps when it was told what, and cancels when it is asked to."""

    told: list[tuple[float, str, int]] = field(default_factory=list[tuple[float, str, int]])
    cancelled: bool = False

    def report(self, phase: str, done: int, total: int) -> None:
        del total
        self.told.append((time.perf_counter(), phase, done))

    def raise_if_cancelled(self) -> None:
        if self.cancelled:
            raise CancelledError("the benchmark cancelled")


class Kept:
    """A sink that keeps the frames of each take, and passes the first take's to an encoder if there is one."""

    def __init__(self, encoder: Encoder | None = None) -> None:
        self._encoder = encoder
        self.chunks: dict[int, list[Frames]] = {}
        self.ended: dict[int, float] = {}

    def frames(self, take: int, frames: Frames) -> None:
        if self._encoder is None:
            self.chunks.setdefault(take, []).append(frames)
        else:
            self._encoder.write(frames)
        self.ended[take] = time.perf_counter()

    def file(self, take: int, path: Path) -> None:
        raise AssertionError(f"take {take} comes as frames, not as {path}")

    def sound(self, take: int, samples: NDArray[np.float32], rate: int) -> None:
        """No model here has any."""

    def clip(self, take: int = 0) -> Frames:
        return np.concatenate(self.chunks[take])


def plain(task: Task) -> dict[str, float]:
    """`from_pretrained`, `pipe(…)`, `export_to_video`, as the model's page shows it."""
    watch = Stopwatch(task.device)
    dtype = torch.bfloat16 if task.device.startswith("cuda") else torch.float32
    began = time.perf_counter()
    pipe = WanImageToVideoPipeline.from_pretrained(task.folder, dtype={"default": dtype, "vae": torch.float32})
    pipe.to(task.device)
    pipe.set_progress_bar_config(disable=True)
    settle(task.device)
    loaded = time.perf_counter() - began

    def render(plan: Plan, steps: int) -> list[NDArray[np.float32]]:
        with Image.open(PHOTO) as photo:
            image = fit_photo(photo.convert("RGB"), plan.width, plan.height)
        made = pipe(
            image=image,
            prompt=PROMPT,
            negative_prompt="",
            height=plan.height,
            width=plan.width,
            num_frames=plan.frames,
            num_inference_steps=steps,
            guidance_scale=5.0,
            generator=torch.Generator("cpu").manual_seed(7),
            output_type="np",
            return_dict=False,
        )
        frames = list[NDArray[np.float32]](made[0][0])
        export_to_video(frames, str(task.clip), fps=plan.fps)
        return frames

    render(_short(task.plan), 1)
    watch.take()
    _reset_peak(task)
    best: dict[str, float] = {}
    for round_ in range(task.rounds):
        began = time.perf_counter(), _worked()
        frames = render(task.plan, task.steps)
        figures = {"wall": time.perf_counter() - began[0], "cpu": _worked() - began[1], **watch.take()}
        best = min(best or figures, figures, key=lambda figures: figures["wall"])
        if round_ == task.rounds - 1:
            np.save(task.plain_frames, np.stack([np.round(frame * 255).astype(np.uint8) for frame in frames]))
    return {**best, "load": loaded, "gpu": _peak(task)}


async def ours(
    task: Task, speed: Speed, then: Callable[[DiffusersEngine, Task], Awaitable[dict[str, float]]] | None = None
) -> dict[str, float]:
    """The engine with its frames streamed into the encoder; `then` gets the loaded engine for figures of its own."""
    watch = Stopwatch(task.device)
    began = time.perf_counter()
    engine = await DiffusersEngine.load(task.model, task.device, Notes(), speed)
    settle(task.device)
    loaded = time.perf_counter() - began

    async def render(plan: Plan, seed: int) -> None:
        with Encoder(task.clip, plan.width, plan.height, plan.fps) as encoder:
            await engine.render(task.job(seed, plan=plan), Kept(encoder), Notes())
            await asyncio.to_thread(encoder.finish)

    await render(_short(task.plan), 1)
    watch.take()
    _reset_peak(task)
    best: dict[str, float] = {}
    for _ in range(task.rounds):
        engine._runner._encodes.forget()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - each round is a first take
        began = time.perf_counter(), _worked()
        await render(task.plan, 7)
        figures = {"wall": time.perf_counter() - began[0], "cpu": _worked() - began[1], **watch.take()}
        best = min(best or figures, figures, key=lambda figures: figures["wall"])
    best |= {"load": loaded, "gpu": _peak(task)}
    if then is not None:
        best |= await then(engine, task)
    await engine.close()
    return best


def _short(plan: Plan) -> Plan:
    """To warm up: the same size, two latent frames, so that the decode meets both of its shapes."""
    return Plan(plan.width, plan.height, 9, plan.fps, 1)


def settle(device: str) -> None:
    """Wait for the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _worked() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _reset_peak(task: Task) -> None:
    if task.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()


def _peak(task: Task) -> float:
    return torch.cuda.max_memory_allocated() / 1e9 if task.device.startswith("cuda") else 0.0
