"""`/animate`: a photo, and what should become of it. A photo alone is enough; a form asks for what else it takes."""

import math
from collections.abc import Iterable
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range

from bot import modals, plans
from bot.application import Interaction, member_of
from clips import paid, queue
from clips.catalog import Catalog, EngineKind, Model
from clips.domain import Camera, Fit, Lane, Size, Strength
from clips.intakes import Wish
from clips.paid import dollars_of

_Text = Range[str, 1, 1000]
_DESCRIBED = {
    "photo": "The photo to bring to life; needed by all models but few",
    "motion": "What moves, and how: wind in her hair, waves roll in",
    "model": "What renders it; left out, the best at work",
    "platform": "Where it renders; narrows the choice of a model",
    "length": "Seconds (5, where the model can)",
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
    @app_commands.autocomplete(model=_models)
    async def command(
        interaction: Interaction,
        photo: discord.Attachment | None = None,
        motion: _Text = "",
        model: str | None = None,
        platform: str | None = None,
        length: Range[float, 1, 15] | None = None,
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


async def _models(interaction: Interaction, typed: str) -> list[Choice[str]]:
    """The models at work that match what was typed, each with its price and its wait."""
    parts = interaction.client.parts
    alive, waits = await queue.alive_models(parts.pool), await queue.waits(parts.pool)
    approved = await paid.providers(parts.pool, member_of(interaction).guild_id)
    # What is only half typed comes as it is.
    lane = Lane.RELAXED if interaction.namespace.lane == Lane.RELAXED else Lane.FAST
    wanted = typed.strip().lower()
    platform: str | None = interaction.namespace.platform
    return [
        Choice(name=_offer(model, waits.get(model.name))[:100], value=model.name)
        for model in parts.catalog
        if model.name in alive
        and plans.may_use(model, lane, approved)
        and platform in {None, model.engine}
        and (wanted in model.name or wanted in model.title.lower())
    ][:25]


def _offer(model: Model, wait: float | None) -> str:
    price = f"{model.price[model.default_size]:g} credits a second"
    if model.hosted is not None:
        price = f"{dollars_of(model.hosted.microdollars(1, model.default_size))} and {price}"
    if wait is None:
        begin = "its generator is away"
    elif wait == math.inf:
        begin = "paused by its host"
    else:
        begin = "starts at once" if wait < 15 else f"starts in about {max(1, round(wait / 60))} min"
    return f"{model.title} · {price} · {begin} · {model.summary}"
