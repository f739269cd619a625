"""Wishes that grow out of a request. The clicker's own: their credits, their rules. Pure."""

from dataclasses import replace

from clips.domain import RequestKind
from clips.inputs import InputRole
from clips.intakes import Upload, Wish
from clips.requests import Request, Take

SUBTLE = 0.25
STRONG = 0.6
"""How much of another seed's noise a variation takes on, 0 (none) to 1 (all)."""


def same_again(request: Request, kind: RequestKind) -> Wish:
    """The request's whole recipe but for its seed."""
    spec = request.spec
    return Wish(
        kind=kind,
        photo=request.photo,
        end_photo=request.end_photo,
        model=spec.model,
        motion=spec.motion,
        avoid=spec.avoid,
        seconds=request.plan.seconds,
        size=spec.size,
        camera=spec.camera,
        strength=spec.strength,
        consistency=spec.consistency,
        fit=spec.fit,
        takes=request.takes,
        lane=request.lane,
        spoiler=request.spoiler,
        variation=request.variation,
        parent_id=request.request_id,
        parent_take=request.parent_take,
        references=tuple(Upload(sha256=one.sha256) for one in request.inputs if one.role is InputRole.REFERENCE),
        motion_video=next(
            (Upload(sha256=one.sha256) for one in request.inputs if one.role is InputRole.MOTION_VIDEO), None
        ),
        sound=spec.sound,
        speech=spec.speech,
        ambient=spec.ambient,
        camera_direction=spec.camera_direction,
        subject=spec.subject,
        speed=spec.speed,
    )


def retry(request: Request) -> Wish:
    """The same again, to the last pixel if it renders this time."""
    return replace(same_again(request, RequestKind.RETRY), seed=request.seed)


def vary(request: Request, take: Take, strength: float) -> Wish:
    """Takes that resemble one take: its noise, mixed with a little of others'."""
    return replace(same_again(request, RequestKind.VARY), variation=strength, parent_take=take.take_id)


def on_another_photo(request: Request) -> Wish:
    """The recipe without its photos; what was a variation of a clip of the old photo is none of the new one."""
    wish = same_again(request, RequestKind.ANIMATE)
    return replace(wish, photo=None, end_photo=None, references=(), variation=None, parent_take=None)
