"""What models take beside a photo: what a wish has of it, lacks, and has in vain. Pure."""

from dataclasses import replace

from clips.catalog import Accepts, Model
from clips.domain import Fit, RequestKind
from clips.inputs import MOST_REFERENCES
from clips.intakes import Upload, Wish

MOST_FIELDS = 5
"""As many as one form holds (Discord)."""
_ASKED = (
    Accepts.PHOTO,
    Accepts.END_PHOTO,
    Accepts.MOTION_VIDEO,
    Accepts.REFERENCES,
    Accepts.SPEECH,
    Accepts.AMBIENT,
    Accepts.CAMERA_DIRECTION,
    Accepts.SUBJECT,
    Accepts.SPEED,
)
"""What a form asks for, in this order."""
_WITHOUT: dict[Accepts, dict[str, object]] = {
    Accepts.PHOTO: {"photo": None, "photo_url": None},
    Accepts.END_PHOTO: {"end_photo": None, "end_photo_url": None},
    Accepts.REFERENCES: {"references": ()},
    Accepts.MOTION_VIDEO: {"motion_video": None},
    Accepts.CAMERA: {"camera": None},
    Accepts.CONSISTENCY: {"consistency": None},
    Accepts.PADDING: {"fit": Fit.CROP},
    Accepts.SOUND: {"sound": False},
    Accepts.SPEECH: {"speech": ""},
    Accepts.AMBIENT: {"ambient": ""},
    Accepts.CAMERA_DIRECTION: {"camera_direction": ""},
    Accepts.SUBJECT: {"subject": ""},
    Accepts.SPEED: {"speed": ""},
}
"""What a child has from its parent without its form showing it, and the wish without each."""


def given(wish: Wish) -> set[Accepts]:
    """What a wish has. A seed counts where the member named it, not where a button repeats one."""
    there: dict[Accepts, object] = {
        Accepts.PHOTO: wish.photo or wish.photo_url,
        Accepts.END_PHOTO: wish.end_photo or wish.end_photo_url,
        Accepts.REFERENCES: wish.references,
        Accepts.MOTION_VIDEO: wish.motion_video,
        Accepts.SEED: wish.seed is not None and wish.kind is RequestKind.ANIMATE,
        Accepts.CAMERA: wish.camera,
        Accepts.CONSISTENCY: wish.consistency is not None,
        Accepts.PADDING: wish.fit is not Fit.CROP,
        Accepts.SOUND: wish.sound,
        Accepts.SPEECH: wish.speech.strip(),
        Accepts.AMBIENT: wish.ambient.strip(),
        Accepts.CAMERA_DIRECTION: wish.camera_direction.strip(),
        Accepts.SUBJECT: wish.subject.strip(),
        Accepts.SPEED: wish.speed.strip(),
    }
    return {what for what, value in there.items() if value}


def fitted(wish: Wish, model: Model) -> tuple[Wish, list[Accepts]]:
    """The wish as the model takes it, and what of its parent is left out because the model does not take it.

    A photo becomes a reference where the model knows references and no first frame.
    """
    if Accepts.REFERENCES in model.accepts and not model.takes_photo and (wish.photo or wish.photo_url):
        first = Upload(url=wish.photo_url, sha256=wish.photo)
        wish = replace(wish, photo=None, photo_url=None, references=(first, *wish.references)[:MOST_REFERENCES])
    left_out: list[Accepts] = []
    if wish.parent_id is not None:
        left_out = [what for what in _WITHOUT if what in given(wish) - model.honours]
    for what in left_out:
        wish = replace(wish, **_WITHOUT[what])
    return wish, left_out


def missing(wish: Wish, model: Model) -> list[Accepts]:
    """What the model needs and a form can ask for."""
    return [what for what in _ASKED if what in model.needs - given(wish)]


def asked(wish: Wish, model: Model) -> list[Accepts]:
    """What a form asks for: all that the model needs, and what it takes that no option of the command says."""
    has = given(wish)
    if len(wish.references) < MOST_REFERENCES:
        has -= {Accepts.REFERENCES}
    takes = (model.accepts - {Accepts.PHOTO, Accepts.END_PHOTO}) | model.needs
    return [what for what in _ASKED if what in takes - has][:MOST_FIELDS]
