"""The ids of buttons and modals: every one comes back as it went out, and nothing else is taken for one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clips.domain import RequestId
from courier.buttons import DRAFT_PATTERN, PATTERN, Action, ButtonId, ModalId, Purpose

ROWS = st.integers(min_value=1, max_value=2**63 - 1)


@given(st.sampled_from(Action), ROWS, st.integers(min_value=0, max_value=4))
def test_a_button_comes_back_as_it_went_out(action: Action, request: int, take: int) -> None:
    button = ButtonId(action, RequestId(request), take)
    assert len(button.custom_id) <= 100
    assert ButtonId.parse(button.custom_id) == button
    assert PATTERN.fullmatch(button.custom_id)
    assert ModalId.parse(button.custom_id) is None


@given(st.sampled_from(Purpose), ROWS)
def test_a_modal_comes_back_as_it_went_out(purpose: Purpose, draft: int) -> None:
    modal = ModalId(purpose, draft)
    assert len(modal.custom_id) <= 100
    assert ModalId.parse(modal.custom_id) == modal
    assert DRAFT_PATTERN.fullmatch(modal.custom_id)
    assert ButtonId.parse(modal.custom_id) is None


@given(st.text() | st.from_regex(re.compile(r"z1:[a-z-]+:[0-9]+:[0-9]+")))
def test_whatever_is_read_is_what_would_be_written(text: str) -> None:
    button = ButtonId.parse(text)
    assert button is None or button.custom_id == text


@pytest.mark.parametrize(
    "custom_id",
    [
        "",
        "z1:reroll:0:0",
        "z1:reroll:01:0",
        "z1:reroll:7:5",
        "z1:reroll:7",
        "z1:reroll:-7:0",
        "z1:reroll:\u0667:0",
        "z1:reroll:7:0\n",
        "z2:reroll:7:0",
        "z1:explode:7:0",
        "z1:reroll:9223372036854775808:0",
    ],
)
def test_what_is_not_ours_is_not_read(custom_id: str) -> None:
    assert ButtonId.parse(custom_id) is None
    assert ModalId.parse(custom_id) is None


def test_a_draft_beyond_the_rows_is_not_read() -> None:
    assert ModalId.parse("z1:draft:remix:9223372036854775808") is None
