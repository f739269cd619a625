"""From a wish to what will be rendered: the model, the clip, the number of takes. Pure."""

from collections.abc import Set as AbstractSet
from dataclasses import replace

from bot.needs import given
from clips.catalog import Accepts, Catalog, EngineKind, Model
from clips.domain import ClipSpec, Lane, Plan
from clips.errors import MemberError
from clips.guilds import Rules
from clips.inputs import StoredVideo
from clips.intakes import Wish

TAKES = 3
"""What comes where the member left the choice to us."""
SHORTEST, LONGEST = 1.0, 15.0
"""Seconds that can be asked for."""


def may_use(model: Model, lane: Lane, approved: AbstractSet[str]) -> bool:
    """May a model run here? Who is paid for it must be approved, and the relaxed lane pays nobody."""
    return model.provider is None or (model.provider in approved and lane is Lane.FAST)


def offered(wish: Wish, catalog: Catalog, alive: AbstractSet[str], approved: AbstractSet[str]) -> list[Model]:
    """The models at work that may be used here, on the wish's platform and in its lane."""
    return [
        model
        for model in catalog
        if model.name in alive and wish.platform in {None, model.engine} and may_use(model, wish.lane, approved)
    ]


def choose_model(
    wish: Wish, catalog: Catalog, alive: AbstractSet[str], default: str | None, approved: AbstractSet[str]
) -> Model:
    """The model named; else the server's default; else the best alive, which is a paid one only where there is no
    other. Raises `MemberError` if none can do it.
    """
    at_work = offered(wish, catalog, alive, approved)
    if wish.model is not None:
        model = catalog.find(wish.model)
        if wish.platform not in {None, model.engine}:
            raise MemberError(f"{model.title} runs on {model.engine}, not on {wish.platform}. Leave one of them out.")
        if model.name not in alive:
            raise MemberError(f"No generator can render {model.title} just now. {_instead(at_work)}")
        return model
    if not at_work:
        where = f" on {wish.platform}" if wish.platform else ""
        raise MemberError(f"No generator can render anything{where} just now. Try again later, or tell the staff.")
    for model in at_work:
        if model.name == default:
            return model
    plain = [model for model in at_work if model.takes_photo and model.needs <= {Accepts.PHOTO}]
    return min(
        plain or at_work,
        key=lambda model: (model.engine is EngineKind.SKETCH, model.paid, "quality" not in model.goals),
    )


def spec_of(wish: Wish, model: Model) -> ClipSpec:
    """The wish in full, whether the model can do it or not."""
    return ClipSpec(
        model=model.name,
        motion=wish.motion,
        avoid=wish.avoid,
        seconds=model.seconds(wish.seconds, wish.size),
        size=wish.size,
        camera=wish.camera,
        strength=wish.strength,
        consistency=wish.consistency,
        fit=wish.fit,
        sound=wish.sound,
        speech=wish.speech,
        ambient=wish.ambient,
        camera_direction=wish.camera_direction,
        subject=wish.subject,
        speed=wish.speed,
    )


def specify(wish: Wish, model: Model) -> ClipSpec:
    """The wish in full. Raises `MemberError` for what the model would ignore or cannot do."""
    spec = spec_of(wish, model)
    model.check(spec, given(wish))
    return spec


def as_long_as(spec: ClipSpec, model: Model, video: StoredVideo | None) -> ClipSpec:
    """The spec with the length of the motion video, where that decides. Raises `MemberError` where it is too long."""
    if model.length_from is not Accepts.MOTION_VIDEO or video is None:
        return spec
    if not model.shortest - 0.5 <= video.seconds <= model.longest + 0.5:
        raise MemberError(
            f"{model.title} follows {model.shortest:g} to {model.longest:g} s of a motion video, and yours lasts "
            f"{video.seconds:.1f} s. Cut it and ask again."
        )
    return replace(spec, seconds=video.seconds)


def count_takes(wish: Wish, plan: Plan, rules: Rules) -> int:
    """How many takes one click makes: the member's number, else as many of three as one click may cost.

    A button makes as many as its request has, or fewer. Raises `MemberError` where the server's limit for one click
    does not allow it.
    """
    if wish.lane is Lane.RELAXED:
        return wish.takes or TAKES
    affordable = rules.click_limit // plan.credits
    free = "" if plan.microdollars else ", or use `lane: relaxed`, which is free"
    if affordable == 0:
        raise MemberError(
            f"One take of this costs {plan.credits} credits, and this server allows {rules.click_limit} for one "
            f"click. Ask for a shorter clip, a smaller size or a lighter model{free}."
        )
    if wish.takes is None or wish.parent_id is not None:
        return min(wish.takes or TAKES, affordable)
    if wish.takes > affordable:
        raise MemberError(
            f"{wish.takes} takes cost {wish.takes * plan.credits} credits, and this server allows "
            f"{rules.click_limit} for one click. Ask for {affordable}{free}."
        )
    return wish.takes


def _instead(at_work: list[Model]) -> str:
    if not at_work:
        return "Try again later."
    return f"At work now: {', '.join(model.title for model in at_work)}."
