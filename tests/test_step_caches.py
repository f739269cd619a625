"""What the catalogue says of step caches, and what it does not take."""

from pathlib import Path

import pytest
from test_catalog import ENTRY

from clips.catalog import Catalog, EngineKind
from clips.errors import SetupError
from clips.step_caches import Mag

FIRST_BLOCK = 'balanced = { kind = "first-block", threshold = 0.03 }'
MAG = 'fast = { kind = "mag", threshold = 0.06, most = 2, kept = 0.2 }'


def own(folder: Path, fields: str) -> Catalog:
    """The catalogue with a host's own entry."""
    file = folder / "own.toml"
    file.write_text(ENTRY + fields, encoding="utf-8")
    return Catalog.load(file)


def ratios(count: int, first: float = 1.0) -> str:
    return f"ratios = {[first, *[0.99] * (count - 1)]}"


def test_an_entry_says_what_its_steps_leave_out(tmp_path: Path) -> None:
    caches = (
        own(tmp_path, f"steps = 30\n[models.harbour.cache]\n{FIRST_BLOCK}\n{MAG}\n{ratios(40)}").find("harbour").cache
    )
    assert caches is not None and caches.balanced is not None
    assert (caches.balanced.kind, caches.balanced.threshold) == ("first-block", 0.03)
    assert caches.fast == Mag(threshold=0.06, most=2, kept=0.2)
    nothing = own(tmp_path, "steps = 30\ncache = {}").find("harbour").cache
    assert nothing is not None and not nothing.kinds, "which is not what is usual for the family"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (f"steps = 19\n[models.harbour.cache]\n{FIRST_BLOCK}", "20 steps and more that are not distilled"),
        (
            f"steps = 2\nsigmas = [1.0, 0.5]\n[models.harbour.cache]\n{FIRST_BLOCK}",
            "that are not distilled: of few, each matters",
        ),
        (f"[models.harbour.cache]\n{MAG}", "mag, and no other, needs ratios"),
        (f"[models.harbour.cache]\n{FIRST_BLOCK}\n{ratios(40)}", "mag, and no other, needs ratios"),
        (f"[models.harbour.cache]\n{MAG}\n{ratios(19)}", "one a step, the first of them 1, for 20 steps and more"),
        (f"[models.harbour.cache]\n{MAG}\n{ratios(40, 0.99)}", "one a step, the first of them 1"),
        (f"steps = 40\n[models.harbour.cache]\n{MAG}\n{ratios(80)}", "leave out every second one"),
        (f"[models.harbour.cache]\n{MAG}\nratios = [1.0, -1.0]", "cache.ratios.1: Input should be greater than 0"),
        ('[models.harbour.cache]\nfast = { kind = "tea", threshold = 0.1 }', "expected tags: 'first-block', 'mag'"),
        ('[models.harbour.cache]\nfast = { kind = "first-block" }', "threshold: Field required"),
        ('[models.harbour.cache]\nslow = { kind = "first-block", threshold = 0.1 }', "Extra inputs are not permitted"),
    ],
)
def test_a_cache_that_cannot_be_is_refused_by_name(tmp_path: Path, fields: str, said: str) -> None:
    with pytest.raises(SetupError, match=f"own.toml: model harbour.*{said}"):
        own(tmp_path, fields)


def test_the_built_in_ratios_were_measured_in_as_many_steps_as_the_model_has() -> None:
    measured = {model.name: model for model in Catalog.load() if model.cache is not None and model.cache.ratios}
    assert set(measured) == {"wan-2.2-ti2v-5b", "wan-2.1-i2v-480p", "wan-2.1-i2v-720p", "framepack"}
    for model in measured.values():
        assert model.cache is not None and len(model.cache.ratios) == model.steps
        assert model.engine is EngineKind.DIFFUSERS and not model.sigmas
