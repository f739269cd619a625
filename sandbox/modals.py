"""Modals: what one may hold, and what a member's answers to it must be."""

from dataclasses import dataclass

from sandbox.components import (
    ACTION_ROW,
    CHECKBOX,
    CHECKBOX_GROUP,
    FILE_UPLOAD,
    LABEL,
    RADIO_GROUP,
    SELECTS,
    STRING_SELECT,
    TEXT_DISPLAY,
    TEXT_INPUT,
    Reading,
    number_components,
    read_options,
    select,
    text_display,
)
from sandbox.fields import Fields
from sandbox.records import Json
from sandbox.refusals import SentenceError

MOST_COMPONENTS = 5
MOST_TITLE = MOST_LABEL = 45
MOST_TEXT = 4000


def read_modal(fields: Fields) -> Json:
    """The `data` of a modal callback: a title, and one to five labels, texts or rows with one text input."""
    reading = Reading()
    modal: Json = {
        "custom_id": fields.required_text("custom_id", most=100),
        "title": fields.required_text("title", most=MOST_TITLE),
    }
    components: list[Json] = []
    for each in fields.objects("components", least=1, most=MOST_COMPONENTS):
        kind = each.choice("type", {ACTION_ROW, LABEL, TEXT_DISPLAY})
        if kind == TEXT_DISPLAY:
            components.append(text_display(each, reading))
        elif kind == LABEL:
            components.append(_label(each, reading))
        else:
            components.append(_row(each, reading))
    return modal | {"components": number_components(components)}


def _row(fields: Fields, reading: Reading) -> Json:
    row = reading.begin(fields, ACTION_ROW)
    listed = fields.objects("components", least=1, most=1)
    for each in listed:
        each.choice("type", {TEXT_INPUT})
        each.required_text("label", most=MOST_LABEL)
    return row | {"components": [_text_input(each, reading) for each in listed]}


def _label(fields: Fields, reading: Reading) -> Json:
    read = reading.begin(fields, LABEL)
    read["label"] = fields.required_text("label", most=MOST_LABEL)
    if (description := fields.text("description", most=100)) is not None:
        read["description"] = description
    inner = fields.required_nested("component")
    kind = inner.choice("type", {TEXT_INPUT, *SELECTS, FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX})
    if kind == TEXT_INPUT:
        read["component"] = _text_input(inner, reading)
    elif kind in SELECTS:
        read["component"] = select(inner, reading) | {"required": inner.flag("required", default=True)}
    else:
        read["component"] = _choosing(inner, reading, kind)
    return read


def _text_input(fields: Fields, reading: Reading) -> Json:
    read = reading.begin(fields, TEXT_INPUT) | {
        "custom_id": reading.custom_id(fields),
        "style": fields.choice("style", {1, 2}),
        "required": fields.flag("required", default=True),
        "label": fields.text("label", most=MOST_LABEL),
        "placeholder": fields.text("placeholder", most=100),
        "value": fields.text("value", most=MOST_TEXT),
        "min_length": fields.integer("min_length", most=MOST_TEXT),
        "max_length": fields.integer("max_length", least=1, most=MOST_TEXT),
    }
    return {name: value for name, value in read.items() if value is not None}


def _choosing(fields: Fields, reading: Reading, kind: int) -> Json:
    """A file upload, a radio group, a checkbox group or a checkbox."""
    read = reading.begin(fields, kind) | {"custom_id": reading.custom_id(fields)}
    if kind == CHECKBOX:
        return read | {"default": fields.flag("default")}
    read["required"] = fields.flag("required", default=True)
    if kind != FILE_UPLOAD:
        read["options"] = read_options(fields, least=2 if kind == RADIO_GROUP else 1, most=10)
    if kind != RADIO_GROUP:
        least, most = fields.integer("min_values", most=10), fields.integer("max_values", least=1, most=10)
        read |= {"min_values": 1 if least is None else least, "max_values": most or 1}
    return read


@dataclass(frozen=True, slots=True)
class Filled:
    """A member's answers as the application gets them, and the uploads among them."""

    components: list[Json]
    uploads: list[int]


def fill(modal: Json, values: Json) -> Filled:
    """Puts a member's values, by custom id, into a modal. Raises `SentenceError` as the client would."""
    components: list[Json] = []
    uploads: list[int] = []
    listed = modal.get("components")
    for one in listed if isinstance(listed, list) else []:
        head: Json = {"type": one["type"], "id": one["id"]}
        if one["type"] == TEXT_DISPLAY:
            components.append(head)
            continue
        inner: Json = one["component"] if one["type"] == LABEL else one["components"][0]
        label = str(one.get("label") or inner.get("label"))
        filled = _filled(inner, values.get(str(inner["custom_id"])), label)
        if inner["type"] == FILE_UPLOAD and isinstance(filled["values"], list):
            uploads += [int(each) for each in filled["values"]]
        components.append(head | ({"component": filled} if one["type"] == LABEL else {"components": [filled]}))
    return Filled(components, uploads)


def _filled(inner: Json, value: object, label: str) -> Json:
    kind = inner["type"]
    filled: Json = {"type": kind, "id": inner["id"], "custom_id": inner["custom_id"]}
    required = bool(inner.get("required", True))
    if kind == CHECKBOX:
        return filled | {"value": bool(inner.get("default") if value is None else value)}
    if kind == TEXT_INPUT:
        text = str(inner.get("value", "") if value is None else value)
        least, most = _bound(inner, "min_length", 0), _bound(inner, "max_length", MOST_TEXT)
        if (required or text) and not max(least, 1 if required else 0) <= len(text) <= most:
            raise SentenceError(f"“{label}” takes {max(least, 1 if required else 0)} to {most} letters.")
        return filled | {"value": text}
    chosen = [str(one) for one in (value if isinstance(value, list) else [] if value is None else [value])]
    options = inner.get("options")
    if isinstance(options, list) and kind in {STRING_SELECT, RADIO_GROUP, CHECKBOX_GROUP}:
        chosen = chosen or [str(one["value"]) for one in options if value is None and one.get("default")]
        if set(chosen) - {one["value"] for one in options}:
            raise SentenceError(f"“{label}” has no such choice.")
    least = _bound(inner, "min_values", 1) if required else 0
    most = _bound(inner, "max_values", 1)
    if not least <= len(chosen) <= most:
        raise SentenceError(f"“{label}” takes {least} to {most} choices." if most > 1 else f"“{label}” is needed.")
    if kind == RADIO_GROUP:
        return filled | {"value": chosen[0] if chosen else None}
    return filled | {"values": chosen}


def _bound(inner: Json, name: str, default: int) -> int:
    value = inner.get(name)
    return value if isinstance(value, int) else default
