"""What the README and docs/gpus.md say of settings and models is what the code does."""

import re
from pathlib import Path

import pytest

from zoetrope.tables import TABLES, renewed

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", TABLES, ids=str)
def test_the_tables_are_those_of_the_code(page: Path):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert renewed(text, TABLES[page]) == text, "run `python -m zoetrope.tables`"


def test_every_file_that_it_names_is_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
