"""What `bench.render` checks of the engine on a GPU beside speed: the picture, seeds, a cancel, little memory."""

import asyncio
import time
from dataclasses import replace

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import nn

from bench.render_ways import Frames, Kept, Notes, Task, settle
from clips.errors import CancelledError
from generator.engines.base import Job
from generator.engines.diffusers.engine import DiffusersEngine


async def checks(engine: DiffusersEngine, task: Task) -> dict[str, float]:
    """What the engine promises, as figures by names of several words. It ends with little memory, and stays so."""
    sink = Kept()
    began = time.perf_counter()
    await engine.render(task.job(7, 8), sink, Notes())
    said = {"first take s": sink.ended[0] - began, "second take of the request s": sink.ended[1] - sink.ended[0]}
    if task.plain_frames.exists():
        said["largest difference to plain diffusers, of 255"] = _difference(sink.clip(0), np.load(task.plain_frames))
    said["mean difference of two seeds, of 255"] = float(np.abs(sink.clip(0).astype(int) - sink.clip(1)).mean())
    short = replace(task.plan, frames=min(task.plan.frames, 49))
    before, after = Kept(), Kept()
    await engine.render(task.job(8, plan=short), before, Notes())
    said["from cancel to idle s"] = await _cancel(engine, task)
    await engine.render(task.job(8, plan=short), after, Notes())
    said["largest difference of a seed after the cancel"] = _difference(before.clip(), after.clip())
    if task.device.startswith("cuda"):
        said |= await _squeezed(engine, task.job(8, plan=short), before.clip())
    return said


async def _cancel(engine: DiffusersEngine, task: Task) -> float:
    notes = Notes()
    render = asyncio.create_task(engine.render(task.job(9), Kept(), notes))
    while not any(phase == "step" and done == 1 for _, phase, done in notes.told):  # noqa: ASYNC110 - told by a thread
        await asyncio.sleep(0.001)
    notes.cancelled = True
    began = time.perf_counter()
    try:
        await render
    except CancelledError:
        settle(task.device)
        return time.perf_counter() - began
    raise RuntimeError("the render was not cancelled")


async def _squeezed(engine: DiffusersEngine, job: Job, whole: Frames) -> dict[str, float]:
    """The same take with hardly more GPU memory than the weights take: it must run out once and go on with less."""
    torch.cuda.empty_cache()
    allowed = torch.cuda.memory_allocated() + 2.5e9
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(0).total_memory)
    torch.cuda.reset_peak_memory_stats()
    sink, began = Kept(), time.perf_counter()
    await engine.render(job, sink, Notes())
    took = time.perf_counter() - began
    torch.cuda.set_per_process_memory_fraction(1.0)
    return {
        "squeezed: allowed GB": allowed / 1e9,
        f"squeezed: {job.plan.frames} frames, run out and begun again, s": took,
        "squeezed: mean difference by tiles, of 255": float(np.abs(sink.clip().astype(int) - whole).mean()),
    }


@torch.no_grad()
def decoding(task: Task) -> dict[str, float]:
    """The VAE's decode of one take in float32 and in bfloat16, warmed up."""
    said: dict[str, float] = {}
    plan = task.plan
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        vae = AutoencoderKLWan.from_pretrained(task.folder / "vae", dtype=dtype)
        nn.Module.to(vae, task.device)
        shape = (1, 48, (plan.frames - 1) // 4 + 1, plan.height // 16, plan.width // 16)
        latents = torch.randn(shape, device=task.device, dtype=dtype)
        vae.decode(latents[:, :, :3])
        settle(task.device)
        began = time.perf_counter()
        vae.decode(latents)
        settle(task.device)
        said[f"plain decode in {name} s"] = time.perf_counter() - began
    return said


def _difference(one: Frames, other: Frames) -> float:
    return float(max(np.abs(a.astype(int) - b).max() for a, b in zip(one, other, strict=True)))
