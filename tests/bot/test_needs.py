"""What models take beside a photo, over the whole catalogue: what is inherited fits, what is needed is asked."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bot import further, needs
from bot.modals import Form, filled_in
from bot.plans import specify
from clips.catalog import Accepts, Catalog, Model
from clips.domain import RequestId, RequestKind, Sha256
from clips.inputs import MOST_REFERENCES
from clips.intakes import Upload, Wish

MODELS = st.sampled_from(list(Catalog.load()))
A_PHOTO, A_VIDEO = Sha256("a" * 64), Sha256("b" * 64)


def everything_for(model: Model) -> Wish:
    """All that a form, or a form after it, can ask for a model; with a photo where it takes one."""
    takes = model.accepts | model.needs
    return Wish(
        model=model.name,
        photo=A_PHOTO if model.takes_photo else None,
        end_photo=A_PHOTO if Accepts.END_PHOTO in takes else None,
        references=(Upload(sha256=A_PHOTO),) * 2 if Accepts.REFERENCES in takes else (),
        motion_video=Upload(sha256=A_VIDEO) if Accepts.MOTION_VIDEO in takes else None,
        consistency=0.5 if Accepts.CONSISTENCY in takes else None,
        sound=Accepts.SOUND in takes,
        speech="Hello." if Accepts.SPEECH in takes else "",
        ambient="rain" if Accepts.AMBIENT in takes else "",
        camera_direction="push in" if Accepts.CAMERA_DIRECTION in takes else "",
        subject="she nods" if Accepts.SUBJECT in takes else "",
        speed="slow" if Accepts.SPEED in takes else "",
    )


@given(MODELS)
def test_all_that_a_model_takes_can_be_given(model: Model):
    wish, left_out = needs.fitted(everything_for(model), model)
    assert left_out == [] and needs.missing(wish, model) == []
    specify(wish, model)


@given(MODELS, MODELS)
def test_a_child_with_another_model_is_fitted_or_asked_and_never_refused(parent: Model, child: Model):
    wish = replace(
        everything_for(parent),
        model=child.name,
        kind=RequestKind.REMIX,
        parent_id=RequestId(1),
        seed=None,
        seconds=None,
    )
    fitted, left_out = needs.fitted(wish, child)
    assert needs.given(fitted) <= child.accepts | child.needs
    for what in left_out:
        assert what in needs.given(wish) and what not in child.accepts | child.needs
    missing = needs.missing(fitted, child)
    assert set(missing) <= set(needs.asked(fitted, child))
    names = [str(what) for what in missing]
    form = Form(dict.fromkeys(names, "words"), {name: ["https://cdn.discordapp.com/a"] for name in names})
    specify(needs.fitted(filled_in(fitted, form), child)[0], child)


@given(MODELS, st.integers(0, MOST_REFERENCES))
def test_a_form_fits_into_discords_bounds(model: Model, references: int):
    wish, _ = needs.fitted(Wish(model=model.name, references=(Upload(sha256=A_PHOTO),) * references), model)
    asked = needs.asked(wish, model)
    assert len(asked) <= needs.MOST_FIELDS and len(further.title(model)) <= 45
    assert Accepts.REFERENCES not in asked or references < MOST_REFERENCES


def test_of_too_many_pictures_the_first_are_kept():
    grok = Catalog.load().find("grok-imagine-r2v")
    others = tuple(Upload(sha256=Sha256(str(number) * 64)) for number in range(MOST_REFERENCES))
    fitted, _ = needs.fitted(Wish(photo=A_PHOTO, references=others), grok)
    assert [one.sha256 for one in fitted.references] == [A_PHOTO, *(one.sha256 for one in others[:-1])]
