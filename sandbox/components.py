"""Message components: what Discord takes in rows, and in version 2 of them, read and laid down for keeping."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from sandbox.fields import Fields
from sandbox.records import Json

ACTION_ROW, BUTTON, STRING_SELECT, TEXT_INPUT = 1, 2, 3, 4
USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT = 5, 6, 7, 8
SECTION, TEXT_DISPLAY, THUMBNAIL, MEDIA_GALLERY, FILE, SEPARATOR, CONTAINER = 9, 10, 11, 12, 13, 14, 17
LABEL, FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX = 18, 19, 21, 22, 23
ENTITY_SELECTS = (USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT)
SELECTS = (STRING_SELECT, *ENTITY_SELECTS)

LINK_STYLE, PREMIUM_STYLE = 5, 6
MOST_ROWS, MOST_IN_ROW = 5, 5
MOST_V2, MOST_V2_TEXT = 40, 4000


@dataclass(slots=True)
class Reading:
    """What has been met in one message or modal so far. `files` are the names that `attachment://` may mean."""

    files: Collection[str] = ()
    custom_ids: set[str] = field(default_factory=set[str])
    ids: set[int] = field(default_factory=set[int])
    count: int = 0
    letters: int = 0

    def begin(self, fields: Fields, kind: int) -> Json:
        """Starts a component: counts it, and gives it its number where it brings none (numbered at the end)."""
        self.count += 1
        number = fields.integer("id", least=0, most=2**31 - 1) or 0
        if number and number in self.ids:
            fields.wrong("id", "COMPONENT_ID_DUPLICATED", "Component id cannot be duplicated")
        self.ids.add(number)
        return {"type": kind, "id": number}

    def custom_id(self, fields: Fields) -> str:
        """A component's custom id: 1 to 100 letters, once in a message."""
        custom_id = fields.required_text("custom_id", most=100)
        if custom_id in self.custom_ids:
            fields.wrong("custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")
        self.custom_ids.add(custom_id)
        return custom_id


def read_components(fields: Fields, *, v2: bool, files: Collection[str]) -> list[Json]:
    """The `components` of a message, checked and normalised. Problems are noted in `fields`."""
    reading = Reading(files)
    readers = _V2_TOP if v2 else {ACTION_ROW: action_row}
    listed = fields.objects("components", most=MOST_V2 if v2 else MOST_ROWS)
    read = [_one_of(readers, each, reading) for each in listed]
    if v2 and reading.count > MOST_V2:
        fields.wrong("components", "COMPONENT_MAX_TOTAL_COMPONENTS", f"At most {MOST_V2} components in a message")
    if v2 and reading.letters > MOST_V2_TEXT:
        sentence = f"The text of all components may be {MOST_V2_TEXT} letters together"
        fields.wrong("components", "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED", sentence)
    return number_components(read)


def number_components(components: list[Json]) -> list[Json]:
    """Gives every component without a number the next free one, in order."""
    every = list(_walk(components))
    taken = {one["id"] for one in every}
    free = (number for number in range(1, 2**31) if number not in taken)
    for one in every:
        if not one["id"]:
            one["id"] = next(free)
    return components


def by_custom_id(components: list[Json], custom_id: str) -> Json | None:
    """The component with a custom id, however deep it lies."""
    return next((one for one in _walk(components) if one.get("custom_id") == custom_id), None)


def _walk(components: list[Json]) -> list[Json]:
    found: list[Json] = []
    for one in components:
        found.append(one)
        for name in ("components", "component", "accessory"):
            below = one.get(name)
            found += _walk(below if isinstance(below, list) else [below] if isinstance(below, dict) else [])
    return found


Reader = Callable[[Fields, Reading], Json]


def _one_of(readers: dict[int, Reader], fields: Fields, reading: Reading) -> Json:
    """Reads a component of one of the types that may stand here."""
    return readers[fields.choice("type", readers)](fields, reading)


def action_row(fields: Fields, reading: Reading) -> Json:
    """Up to five buttons, or one select."""
    row = reading.begin(fields, ACTION_ROW)
    listed = fields.objects("components", least=1, most=MOST_IN_ROW)
    inside = [_one_of(_IN_ROW, each, reading) for each in listed]
    if len(inside) > 1 and any(one["type"] in SELECTS for one in inside):
        fields.wrong(
            "components", "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "The specified component exceeds the maximum width"
        )
    return row | {"components": inside}


def button(fields: Fields, reading: Reading) -> Json:
    """A button: an id of its own, or a link; a label or an emoji."""
    read = reading.begin(fields, BUTTON)
    style = read["style"] = fields.choice("style", range(1, 7))
    label, emoji = fields.text("label", most=80), fields.nested("emoji")
    if style == PREMIUM_STYLE:
        read["sku_id"] = str(fields.snowflake("sku_id") or 0)
    elif style == LINK_STYLE:
        read["url"] = fields.required_text("url", most=512)
        if fields.given.get("custom_id"):
            fields.wrong("custom_id", "BUTTON_COMPONENT_INVALID", "A link button cannot have a custom id")
    else:
        read["custom_id"] = reading.custom_id(fields)
        if fields.given.get("url"):
            fields.wrong("url", "BUTTON_COMPONENT_INVALID", "Only a link button can have a url")
    if not label and emoji is None and style != PREMIUM_STYLE:
        fields.wrong("label", "BUTTON_COMPONENT_LABEL_REQUIRED", "A button needs a label or an emoji")
    return read | _given(label=label, emoji=read_emoji(emoji), disabled=fields.flag("disabled"))


def select(fields: Fields, reading: Reading) -> Json:
    """A select menu of texts, users, roles or channels."""
    kind = fields.choice("type", SELECTS)
    read = reading.begin(fields, kind)
    read["custom_id"] = reading.custom_id(fields)
    least, most = fields.integer("min_values", most=25), fields.integer("max_values", least=1, most=25)
    read |= {"min_values": 1 if least is None else least, "max_values": most or 1}
    if (least or 0) > (most or 1):
        fields.wrong("min_values", "BASE_TYPE_BAD_RANGE", "Must be at most max_values")
    if kind == STRING_SELECT:
        read["options"] = read_options(fields, most=25)
        if len(fields.objects("options", most=25)) < (least or 0):
            fields.wrong("options", "SELECT_COMPONENT_OPTIONS_TOO_FEW", "Fewer options than min_values")
    if kind == CHANNEL_SELECT:
        read |= _given(channel_types=fields.given.get("channel_types"))
    read |= _given(default_values=fields.given.get("default_values") if kind in ENTITY_SELECTS else None)
    return read | _given(placeholder=fields.text("placeholder", most=150), disabled=fields.flag("disabled"))


def read_options(fields: Fields, *, most: int, least: int = 1) -> list[Json]:
    """The options of a select, a radio group or a checkbox group: values told apart, labels up to 100 letters."""
    values: set[str] = set()
    read: list[Json] = []
    for each in fields.objects("options", least=least, most=most):
        value = each.required_text("value", most=100)
        if value in values:
            each.wrong(
                "value", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "The specified option value is already used"
            )
        values.add(value)
        read.append(
            {"label": each.required_text("label", most=100), "value": value, "default": each.flag("default")}
            | _given(description=each.text("description", most=100), emoji=read_emoji(each.nested("emoji")))
        )
    return read


def read_emoji(fields: Fields | None) -> Json | None:
    """An emoji beside a label: a name, and the id of a custom one."""
    if fields is None:
        return None
    return {"name": fields.text("name", most=32)} | _given(id=fields.text("id", most=32))


def text_display(fields: Fields, reading: Reading) -> Json:
    read = reading.begin(fields, TEXT_DISPLAY)
    content = fields.required_text("content", most=MOST_V2_TEXT)
    reading.letters += len(content)
    return read | {"content": content}


def _section(fields: Fields, reading: Reading) -> Json:
    """One to three texts beside a picture or a button."""
    read = reading.begin(fields, SECTION)
    read["components"] = [
        _one_of({TEXT_DISPLAY: text_display}, each, reading) for each in fields.objects("components", least=1, most=3)
    ]
    read["accessory"] = _one_of({BUTTON: button, THUMBNAIL: _thumbnail}, fields.required_nested("accessory"), reading)
    return read


def _thumbnail(fields: Fields, reading: Reading) -> Json:
    return reading.begin(fields, THUMBNAIL) | _media_item(fields, reading)


def _media_gallery(fields: Fields, reading: Reading) -> Json:
    read = reading.begin(fields, MEDIA_GALLERY)
    return read | {"items": [_media_item(each, reading) for each in fields.objects("items", least=1, most=10)]}


def _media_item(fields: Fields, reading: Reading) -> Json:
    return {
        "media": _media(fields.required_nested("media"), reading, only_attachments=False),
        "description": fields.text("description", least=1, most=1024),
        "spoiler": fields.flag("spoiler"),
    }


def _file(fields: Fields, reading: Reading) -> Json:
    read = reading.begin(fields, FILE)
    media = _media(fields.required_nested("file"), reading, only_attachments=True)
    name = str(media["url"]).removeprefix("attachment://")
    return read | {"file": media, "name": name, "size": None, "spoiler": fields.flag("spoiler")}


def _media(fields: Fields, reading: Reading, *, only_attachments: bool) -> Json:
    url = fields.required_text("url", most=2048)
    scheme, _, name = url.partition("://")
    if scheme == "attachment" and name not in reading.files:
        sentence = "The referenced attachment was not found"
        fields.wrong("url", "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND", sentence)
    elif scheme not in ({"attachment"} if only_attachments else {"attachment", "http", "https"}):
        fields.wrong("url", "URL_TYPE_INVALID_SCHEME", "Scheme must be one of attachment, http, https")
    return {"id": "0", "url": url, "proxy_url": url, "width": None, "height": None, "content_type": None}


def _separator(fields: Fields, reading: Reading) -> Json:
    read = reading.begin(fields, SEPARATOR)
    return read | {"divider": fields.flag("divider", default=True), "spacing": fields.integer("spacing", most=2) or 1}


def _container(fields: Fields, reading: Reading) -> Json:
    read = reading.begin(fields, CONTAINER)
    read["accent_color"] = fields.integer("accent_color", most=0xFFFFFF)
    read["spoiler"] = fields.flag("spoiler")
    read["components"] = [
        _one_of(_IN_CONTAINER, each, reading) for each in fields.objects("components", least=1, most=MOST_V2)
    ]
    return read


def _given(**values: object) -> Json:
    """Only the values that are there."""
    return {name: value for name, value in values.items() if value is not None}


_IN_ROW: dict[int, Reader] = {BUTTON: button} | dict.fromkeys(SELECTS, select)
_IN_CONTAINER: dict[int, Reader] = {
    ACTION_ROW: action_row,
    SECTION: _section,
    TEXT_DISPLAY: text_display,
    MEDIA_GALLERY: _media_gallery,
    FILE: _file,
    SEPARATOR: _separator,
}
_V2_TOP: dict[int, Reader] = _IN_CONTAINER | {CONTAINER: _container}
