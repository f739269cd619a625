"""How each server is asked for a clip: the fields of its form. Pure; sending them is `server`'s."""

from collections.abc import Mapping

from clips.catalog import Model
from clips.domain import ClipSpec, Plan
from clips.servers import Dialect
from generator.engines.prompts import prompt


def form_of(model: Model, spec: ClipSpec, plan: Plan, seed: int) -> Mapping[str, str]:
    """The text fields of a `POST /v1/videos`; the photo goes beside them.

    The number of frames always, never the seconds: a server makes seconds × fps of them, which breaks the model's frame
    rule. The seed always: left out it is 1024 for two of the three, and every reroll would be the same clip.
    """
    if model.server is None:
        raise ValueError(f"{model.name} has no server")
    fields: dict[str, object] = {
        "model": model.server.served_model,
        "prompt": prompt(spec),
        "negative_prompt": spec.avoid.strip() or None,
        "num_frames": plan.frames,
        "fps": plan.fps,
        "seed": seed,
        "num_inference_steps": model.steps,
        "guidance_scale": model.guidance,
        **_size(model.server.dialect, plan),
    }
    return {name: str(value) for name, value in fields.items() if value is not None}


def _size(dialect: Dialect, plan: Plan) -> dict[str, object]:
    match dialect:
        case Dialect.VLLM_OMNI:
            return {"width": plan.width, "height": plan.height}
        case Dialect.SGLANG | Dialect.FASTVIDEO:
            return {"size": f"{plan.width}x{plan.height}"}


def tells_the_start(dialect: Dialect) -> bool:
    """Does `queued` end when the render begins? The others say `queued` to the very end."""
    return dialect is Dialect.VLLM_OMNI
