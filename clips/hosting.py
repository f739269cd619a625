"""What somebody else runs for money: its address, its price, and the input that it gets for a clip. Pure."""

import math
from collections.abc import Mapping

from pydantic import Field

from clips.domain import ClipSpec, Plan, Size
from clips.entries import Entry
from clips.fields import ProviderField, Value, Wishes, filled


class Hosted(Entry):
    """A model or tool that somebody else runs for money. `usd` is the price of a second of video, by size.

    `usd_gpu_second` instead: the provider charges the time of its machine, and `usd` is what that comes to, roughly.
    """

    provider: str
    slug: str
    version: str | None = None
    usd: dict[Size, float]
    usd_with_sound: dict[Size, float] = Field(default_factory=dict[Size, float])
    usd_gpu_second: float | None = None
    fields: dict[str, ProviderField]
    defaults: dict[str, str | int | float | bool] = Field(default_factory=dict[str, str | int | float | bool])
    """What the provider is known to do where nothing is sent: `zoetrope doctor --hosted` tells when that changes."""

    def microdollars(self, seconds: float, size: Size, *, sound: bool = False) -> int:
        """The price of so much video."""
        dollars = self.usd_with_sound.get(size, self.usd[size]) if sound else self.usd[size]
        return math.ceil(round(dollars * seconds * 1e6, 3))

    def input_for(
        self, spec: ClipSpec, plan: Plan, size: Size, seed: int, files: Mapping[str, str]
    ) -> dict[str, Value]:
        """What the provider gets for one take. `files`: addresses by the names of `Job.inputs`."""
        references = sorted(name for name in files if name.startswith("reference_"))
        wishes = Wishes(
            photo=files.get("photo"),
            end_photo=files.get("end_photo"),
            references=[files[name] for name in references],
            motion_video=files.get("motion_video"),
            prompt=spec.prompt,
            avoid=spec.avoid.strip(),
            speech=spec.speech,
            ambient=spec.ambient,
            camera_direction=spec.camera_direction,
            subject=spec.subject,
            speed=spec.speed,
            seconds=plan.seconds,
            frames=plan.frames,
            fps=plan.fps,
            size=size,
            aspect=plan.width / plan.height,
            seed=seed,
            sound=spec.audible,
            camera=spec.camera,
            strength=spec.strength,
            consistency=spec.consistency,
        )
        return filled(self.fields, wishes)


class Tool(Entry):
    """What a provider makes of finished clips: no model, and not offered as one."""

    name: str
    title: str
    summary: str
    licence: str
    hosted: Hosted
