"""Limits of components, rows and version 2, as Discord's rules are, and modals'."""

from typing import Any

import pytest

from sandbox.components import read_components
from sandbox.fields import Fields
from sandbox.modals import read_modal
from sandbox.refusals import Refusal

Json = dict[str, Any]


def button(custom_id: str = "a", **more: Any) -> Json:
    return {"type": 2, "style": 1, "label": "Go", "custom_id": custom_id} | more


def row(*components: Json, **more: Any) -> Json:
    return {"type": 1, "components": [*components]} | more


def menu(*values: str, **more: Any) -> Json:
    options = [{"label": value, "value": value} for value in values]
    return {"type": 3, "custom_id": "menu", "options": options} | more


def text(content: str = "words") -> Json:
    return {"type": 10, "content": content}


def gallery(*urls: str) -> Json:
    return {"type": 12, "items": [{"media": {"url": url}} for url in urls]}


def label(component: Json, **more: Any) -> Json:
    return {"type": 18, "label": "Motion", "component": component} | more


def field(custom_id: str = "t", **more: Any) -> Json:
    return {"type": 4, "custom_id": custom_id, "style": 1} | more


def modal(*components: Json, **more: Any) -> Json:
    return {"custom_id": "m", "title": "Remix", "components": [*components]} | more


def of_message(*components: Json, v2: bool = False) -> list[tuple[str, str]]:
    fields = Fields({"components": [*components]})
    read_components(fields, v2=v2, files=["clip.mp4"])
    return [(".".join(path).removeprefix("components."), code) for path, code, _ in fields.problems.found]


def of_modal(given: Json) -> list[tuple[str, str]]:
    fields = Fields(given)
    read_modal(fields)
    return [(".".join(path), code) for path, code, _ in fields.problems.found]


def test_five_rows_of_five_buttons_are_taken():
    assert of_message(*(row(*(button(f"{n}-{m}") for m in range(5))) for n in range(5))) == []


@pytest.mark.parametrize(
    ("components", "problem"),
    [
        ([row(button(str(n))) for n in range(6)], ("components", "BASE_TYPE_BAD_LENGTH")),
        ([row(*(button(str(n)) for n in range(6)))], ("0.components", "BASE_TYPE_BAD_LENGTH")),
        ([row()], ("0.components", "BASE_TYPE_BAD_LENGTH")),
        ([button()], ("0.type", "BASE_TYPE_CHOICES")),
        ([row(button(), button())], ("0.components.1.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED")),
        ([row(button()), row(button())], ("1.components.0.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED")),
        ([row(button("x" * 101))], ("0.components.0.custom_id", "BASE_TYPE_BAD_LENGTH")),
        ([row(button(""))], ("0.components.0.custom_id", "BASE_TYPE_BAD_LENGTH")),
        ([row(button(label="x" * 81))], ("0.components.0.label", "BASE_TYPE_MAX_LENGTH")),
        ([row(button(label=None))], ("0.components.0.label", "BUTTON_COMPONENT_LABEL_REQUIRED")),
        ([row(button(style=9))], ("0.components.0.style", "BASE_TYPE_CHOICES")),
        ([row(button(style=5, url="https://a.b"))], ("0.components.0.custom_id", "BUTTON_COMPONENT_INVALID")),
        ([row(button(url="https://a.b"))], ("0.components.0.url", "BUTTON_COMPONENT_INVALID")),
        ([row(menu(*map(str, range(26))))], ("0.components.0.options", "BASE_TYPE_BAD_LENGTH")),
        ([row(menu())], ("0.components.0.options", "BASE_TYPE_BAD_LENGTH")),
        ([row(menu("a", "a"))], ("0.components.0.options.1.value", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED")),
        ([row(menu("a", min_values=2, max_values=1))], ("0.components.0.min_values", "BASE_TYPE_BAD_RANGE")),
        ([row(menu("a"), button())], ("0.components", "COMPONENT_LAYOUT_WIDTH_EXCEEDED")),
        ([text()], ("0.type", "BASE_TYPE_CHOICES")),
    ],
)
def test_rows_beyond_the_rules_are_refused(components: list[Json], problem: tuple[str, str]):
    assert problem in of_message(*components)


@pytest.mark.parametrize(
    ("components", "problem"),
    [
        ([text() for _ in range(41)], ("components", "BASE_TYPE_BAD_LENGTH")),
        ([{"type": 17, "components": [text("x")] * 20}] * 2, ("components", "COMPONENT_MAX_TOTAL_COMPONENTS")),
        ([text("x" * 2001), text("x" * 2000)], ("components", "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED")),
        ([gallery(*["https://a.b/c.png"] * 11)], ("0.items", "BASE_TYPE_BAD_LENGTH")),
        (
            [gallery("attachment://other.mp4")],
            ("0.items.0.media.url", "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND"),
        ),
        ([{"type": 13, "file": {"url": "https://a.b/c"}}], ("0.file.url", "URL_TYPE_INVALID_SCHEME")),
        ([button()], ("0.type", "BASE_TYPE_CHOICES")),
        ([{"type": 9, "components": [text()]}], ("0.accessory", "BASE_TYPE_REQUIRED")),
        ([text() | {"id": 3}, text() | {"id": 3}], ("1.id", "COMPONENT_ID_DUPLICATED")),
    ],
)
def test_version_2_beyond_the_rules_is_refused(components: list[Json], problem: tuple[str, str]):
    assert problem in of_message(*components, v2=True)


def test_version_2_numbers_its_components_around_those_that_have_numbers():
    fields = Fields({"components": [text(), text() | {"id": 1}, gallery("attachment://clip.mp4"), row(button())]})
    read = read_components(fields, v2=True, files=["clip.mp4"])
    fields.problems.check()
    assert [one["id"] for one in read] == [2, 1, 3, 4]


def test_a_modal_takes_labels_texts_and_rows():
    upload = {"type": 19, "custom_id": "file", "max_values": 10}
    radio = {"type": 21, "custom_id": "r", "options": [{"label": v, "value": v} for v in "ab"]}
    checks = {"type": 22, "custom_id": "g", "options": [{"label": "a", "value": "a"}]}
    box = {"type": 23, "custom_id": "c"}
    assert of_modal(modal(*(label(one) for one in (upload, radio, checks, box)), text())) == []
    assert of_modal(modal(row(field(label="Words")), label(menu("a", "b")))) == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (modal(*(label(field(str(n))) for n in range(6))), ("components", "BASE_TYPE_BAD_LENGTH")),
        (modal(), ("components", "BASE_TYPE_BAD_LENGTH")),
        (modal(label(field()), title="x" * 46), ("title", "BASE_TYPE_BAD_LENGTH")),
        (modal(label(field()), custom_id=""), ("custom_id", "BASE_TYPE_BAD_LENGTH")),
        (modal(label(field(), label="x" * 46)), ("components.0.label", "BASE_TYPE_BAD_LENGTH")),
        (modal(label(field()), label(field())), ("components.1.component.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED")),
        (modal(label(field(value="x" * 4001))), ("components.0.component.value", "BASE_TYPE_MAX_LENGTH")),
        (modal(label(field(max_length=4001))), ("components.0.component.max_length", "BASE_TYPE_BAD_RANGE")),
        (modal(row(field())), ("components.0.components.0.label", "BASE_TYPE_REQUIRED")),
        (modal(label({"type": 2, "style": 1})), ("components.0.component.type", "BASE_TYPE_CHOICES")),
        (
            modal(label({"type": 19, "custom_id": "f", "max_values": 11})),
            ("components.0.component.max_values", "BASE_TYPE_BAD_RANGE"),
        ),
        (
            modal(label({"type": 21, "custom_id": "r", "options": [{"label": "a", "value": "a"}]})),
            ("components.0.component.options", "BASE_TYPE_BAD_LENGTH"),
        ),
        (modal(button()), ("components.0.type", "BASE_TYPE_CHOICES")),
    ],
)
def test_a_modal_beyond_the_rules_is_refused(given: Json, problem: tuple[str, str]):
    assert problem in of_modal(given)


def test_all_that_is_wrong_is_told_at_once_as_a_tree():
    fields = Fields({"components": [row(button("x" * 101, label="y" * 81))]})
    read_components(fields, v2=False, files=[])
    with pytest.raises(Refusal) as refused:
        fields.problems.check()
    assert refused.value.body == {
        "code": 50035,
        "message": "Invalid Form Body",
        "errors": {
            "components": {
                "0": {
                    "components": {
                        "0": {
                            "label": {
                                "_errors": [
                                    {"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 80 or fewer in length."}
                                ]
                            },
                            "custom_id": {
                                "_errors": [
                                    {
                                        "code": "BASE_TYPE_BAD_LENGTH",
                                        "message": "Must be between 1 and 100 in length.",
                                    }
                                ]
                            },
                        }
                    }
                }
            }
        },
    }
