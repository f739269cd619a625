"""SkyReels V2 image-to-video: Wan 2.1's parts around a network of its own."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import ClassVar

from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.pipelines.skyreels_v2.pipeline_skyreels_v2_i2v import SkyReelsV2ImageToVideoPipeline

from clips.catalog import Accepts
from clips.step_caches import StepCaches
from generator.engines.diffusers.family import IN_WORDS, Scene
from generator.engines.diffusers.wan import Wan


class SkyReels(Wan):
    """See `Family`. All but its network and what it was trained for is Wan's."""

    pipeline: ClassVar[type[DiffusionPipeline]] = SkyReelsV2ImageToVideoPipeline
    precise = frozenset({"vae"})
    flow_shift = 5.0  # for photos; 8 is for words alone, and the repositories do not keep them apart
    honours: ClassVar[AbstractSet[str]] = frozenset({"flow_shift"})
    usual_caches: ClassVar[StepCaches] = StepCaches()  # nobody has published what holds

    accepts: ClassVar[AbstractSet[Accepts]] = IN_WORDS | {Accepts.AVOID}
    """The pipeline would take an end photo, for which these weights were not trained."""

    def further(self, scene: Scene) -> Mapping[str, object]:
        """Its pipeline has one transformer."""
        del scene
        return {}


FAMILY = SkyReels
