"""The panels that a press opens for the presser alone: what each choice does and what it costs. Pure."""

from collections.abc import Mapping

from clips.catalog import Model
from clips.domain import Lane
from clips.requests import Take, WholeRequest
from courier.buttons import Action, ButtonId
from courier.message import MOST_CHARACTERS, Button, Message, Style
from courier.wording import count_of_takes, cut, model_of, price_of, prompt_of


def vary(whole: WholeRequest, take: Take, *, takes: int) -> Message:
    """The choice between a subtle and a strong variation of a take; either makes `takes`."""
    request = whole.request
    price = "free" if request.lane is Lane.RELAXED else f"at most {price_of(request.plan, takes)}"
    return Message(
        f"**Vary take {take.index}** · {prompt_of(request)}\n"
        "**Subtle** keeps the motion and changes its details; **Strong** keeps the idea and moves anew.\n"
        f"Either makes {count_of_takes(takes)}: {price}, from your credits.",
        rows=(
            (
                Button("Subtle", ButtonId(Action.SUBTLE, request.request_id, take.index), Style.PRIMARY),
                Button("Strong", ButtonId(Action.STRONG, request.request_id, take.index), Style.PRIMARY),
            ),
        ),
    )


def more(whole: WholeRequest, take: Take, *, may_delete: bool) -> Message:
    """What else a reply offers. `may_delete`: the presser asked for these clips, or is staff."""
    request_id = whole.request.request_id
    deletion = (
        "**Delete** takes the clips out of the channel and the library for good; credits do not come back."
        if may_delete
        else "Only the member who asked for these clips, or staff, can delete them."
    )
    return Message(
        f"**More for take {take.index}**\n**Recipe** shows everything that makes this take again. {deletion}",
        rows=(
            (
                Button("Recipe", ButtonId(Action.RECIPE, request_id, take.index)),
                Button("Delete", ButtonId(Action.DELETE, request_id), Style.DANGER, disabled=not may_delete),
            ),
        ),
    )


def recipe(whole: WholeRequest, take: Take, model: Model | None, details: Mapping[str, object]) -> Message:
    """Every parameter of a take. `details` is the recipe that its generator recorded."""
    request = whole.request
    head = f"**Recipe of take {take.index}** · {prompt_of(request)}\n{model_of(request, model)}\n"
    known: dict[str, object] = {
        "photo": request.photo,
        "seed": take.seed,
        "size": f"{request.plan.width}x{request.plan.height}",
        "frames": f"{request.plan.frames} at {request.plan.fps} a second",
        "price": price_of(request.plan, 1),
        **details,
    }
    # Grave accents would end the block early.
    lines = "\n".join(f"{name}: {_plain(value)}" for name, value in known.items())
    return Message(f"{head}```\n{cut(lines, MOST_CHARACTERS - len(head) - 8)}\n```")


def _plain(value: object) -> str:
    return " ".join(str(value).replace("`", "'").split())
