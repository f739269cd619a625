"""`/animate`: a photo, and what should become of it. A photo alone is enough; a form asks for what else it takes."""

from collections.abc import Iterable
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range

from bot import modals, suggestions
from bot.application import Interaction
from bot.plans import LONGEST, SHORTEST
from clips.catalog import Catalog, EngineKind
from clips.domain import Camera, Fit, Lane, Size, Strength
from clips.intakes import Wish

_Text = Range[str, 1, 1000]
_DESCRIBED = {
    "photo": "The photo to bring to life; needed by all models but few",
    "motion": "What moves, and how: wind in her hair, waves roll in",
    "model": "What renders it; left out, the best at work",
    "platform": "Where it renders; narrows the choice of a model",
    "length": "Seconds (5, where the model can); suggested are the real lengths, each with its price",
    "takes": "How many versions (3, where one click may cost that)",
    "size": "The short side (the model's own)",
    "camera": "How the camera moves",
    "strength": "How much moves (medium)",
    "consistency": "How closely it keeps to the photo, 0 to 1: 0.7 is usual, 0.6 to 0.8 recommended",
    "fit": "A photo of another shape: crop it, or pad it with its own blur (crop)",
    "end_photo": "A photo to end on",
    "avoid": "What should not appear",
    "sound": "With sound, where the model makes some (off)",
    "seed": "The same seed and options make the same clip again",
    "lane": "fast spends credits; relaxed is free and waits for a quiet moment",
    "spoiler": "Hide the clip behind a click",
}


def animate(catalog: Catalog) -> app_commands.Command[Any, ..., None]:
    """The command, with the platforms that the catalogue's models run on."""

    @app_commands.command(name="animate", description="Bring a photo to life")
    @app_commands.describe(**_DESCRIBED)
    @app_commands.choices(
        platform=_choices(sorted({model.engine for model in catalog})),
        size=_choices(Size),
        camera=_choices(Camera),
        strength=_choices(Strength),
        fit=_choices(Fit),
        lane=_choices(Lane),
    )
    @app_commands.autocomplete(model=suggestions.models)
    @app_commands.autocomplete(length=suggestions.lengths)
    async def command(
        interaction: Interaction,
        photo: discord.Attachment | None = None,
        motion: _Text = "",
        model: str | None = None,
        platform: str | None = None,
        length: Range[float, SHORTEST, LONGEST] | None = None,
        takes: Range[int, 1, 4] | None = None,
        size: str = Size.NATIVE,
        camera: str | None = None,
        strength: str = Strength.MEDIUM,
        consistency: Range[float, 0, 1] | None = None,
        fit: str = Fit.CROP,
        end_photo: discord.Attachment | None = None,
        avoid: _Text = "",
        seed: Range[int, 0, 4294967295] | None = None,
        lane: str = Lane.FAST,
        spoiler: bool = False,  # noqa: FBT001, FBT002 - an option of a command
        sound: bool = False,  # noqa: FBT001, FBT002 - as above
    ) -> None:
        wish = Wish(
            photo_url=photo.url if photo else None,
            end_photo_url=end_photo.url if end_photo else None,
            model=model,
            platform=EngineKind(platform) if platform else None,
            motion=motion,
            avoid=avoid,
            seconds=length,
            size=Size(size),
            camera=Camera(camera) if camera else None,
            strength=Strength(strength),
            consistency=consistency,
            fit=Fit(fit),
            takes=takes,
            seed=seed,
            lane=Lane(lane),
            spoiler=spoiler or (photo is not None and photo.is_spoiler()),
            sound=sound,
        )
        # What else the model takes is asked for in a form, which can only be the first answer.
        if wish.model is None:
            await interaction.client.parts.intake.take(interaction, wish)
        else:
            await modals.ask_further(interaction, wish)

    return command


def _choices(values: Iterable[str]) -> list[Choice[str]]:
    return [Choice(name=str(value), value=str(value)) for value in values]
