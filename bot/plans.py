"""From a wish to what will be rendered: the model, the clip, the number of takes. Pure."""

from collections.abc import Set as AbstractSet

from clips.catalog import Accepts, Catalog, EngineKind, Model
from clips.domain import ClipSpec, Lane, Plan, RequestKind
from clips.errors import MemberError
from clips.guilds import Rules
from clips.intakes import Wish

SECONDS = 5.0
TAKES = 3
"""What comes where the member left the choice to us."""


def choose_model(wish: Wish, catalog: Catalog, alive: AbstractSet[str], default: str | None) -> Model:
    """The model named; else the server's default; else the best alive. Raises `MemberError` if none can do it."""
    offered = [
        model for model in catalog if model.name in alive and (wish.platform is None or model.engine is wish.platform)
    ]
    if wish.model is not None:
        model = catalog.find(wish.model)
        if wish.platform not in {None, model.engine}:
            raise MemberError(f"{model.title} runs on {model.engine}, not on {wish.platform}. Leave one of them out.")
        if model not in offered:
            raise MemberError(f"No generator that runs {model.title} has been seen for 10 minutes. {_instead(offered)}")
        return model
    if not offered:
        where = f" on {wish.platform}" if wish.platform else ""
        raise MemberError(f"No generator has been at work{where} for 10 minutes. Try again later, or tell the staff.")
    for model in offered:
        if model.name == default:
            return model
    return min(offered, key=lambda model: (model.engine is EngineKind.SKETCH, "quality" not in model.goals))


def specify(wish: Wish, model: Model) -> ClipSpec:
    """The wish in full. Raises `MemberError` for what the model would ignore or cannot do."""
    spec = ClipSpec(
        model=model.name,
        motion=wish.motion,
        avoid=wish.avoid,
        seconds=min(SECONDS, model.longest) if wish.seconds is None else wish.seconds,
        size=wish.size,
        camera=wish.camera,
        strength=wish.strength,
        consistency=wish.consistency,
    )
    model.check(spec, _given(wish))
    return spec


def _given(wish: Wish) -> set[Accepts]:
    """What comes beside the spec. A seed counts where the member named it, not where a button repeats one."""
    given = {
        Accepts.PHOTO: wish.photo or wish.photo_url,
        Accepts.END_PHOTO: wish.end_photo or wish.end_photo_url,
        Accepts.SEED: wish.seed is not None and wish.kind is RequestKind.ANIMATE,
    }
    return {what for what, there in given.items() if there}


def count_takes(wish: Wish, plan: Plan, rules: Rules) -> int:
    """How many takes one click makes: the member's number, else as many of three as one click may cost.

    A button makes as many as its request has, or fewer. Raises `MemberError` where the server's limit for one click
    does not allow it.
    """
    if wish.lane is Lane.RELAXED:
        return wish.takes or TAKES
    affordable = rules.click_limit // plan.credits
    if affordable == 0:
        raise MemberError(
            f"One take of this costs {plan.credits} credits, and this server allows {rules.click_limit} for one "
            "click. Ask for a shorter clip, a smaller size or a lighter model, or use `lane: relaxed`, which is free."
        )
    if wish.takes is None or wish.parent_id is not None:
        return min(wish.takes or TAKES, affordable)
    if wish.takes > affordable:
        raise MemberError(
            f"{wish.takes} takes cost {wish.takes * plan.credits} credits, and this server allows "
            f"{rules.click_limit} for one click. Ask for {affordable}, or use `lane: relaxed`, which is free."
        )
    return wish.takes


def _instead(offered: list[Model]) -> str:
    if not offered:
        return "Try again later."
    return f"At work now: {', '.join(model.title for model in offered)}."
