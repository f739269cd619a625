"""Embeds: their lengths, and the pictures they may show."""

from collections.abc import Collection

from sandbox.fields import Fields
from sandbox.records import Json

MOST_EMBEDS = 10
MOST_LETTERS = 6000


def read_embeds(fields: Fields, files: Collection[str]) -> list[Json]:
    """The `embeds` of a message. A video is left out: applications cannot set one."""
    listed = fields.objects("embeds", most=MOST_EMBEDS)
    read = [_embed(each, files) for each in listed]
    if sum(_letters(each) for each in read) > MOST_LETTERS:
        fields.wrong("embeds", "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {MOST_LETTERS}")
    return read


def _embed(fields: Fields, files: Collection[str]) -> Json:
    read: Json = {
        "title": fields.text("title", most=256),
        "description": fields.text("description", most=4096),
        "url": fields.text("url", most=2048),
        "color": fields.integer("color", most=0xFFFFFF),
        "timestamp": fields.text("timestamp", most=64),
        "footer": _part(fields.nested("footer"), "text", 2048),
        "author": _part(fields.nested("author"), "name", 256),
        "image": _picture(fields.nested("image"), files),
        "thumbnail": _picture(fields.nested("thumbnail"), files),
        "fields": [
            {
                "name": each.required_text("name", most=256),
                "value": each.required_text("value", most=1024),
                "inline": each.flag("inline"),
            }
            for each in fields.objects("fields", most=25)
        ],
    }
    return {"type": "rich"} | {name: value for name, value in read.items() if value is not None}


def _part(fields: Fields | None, name: str, most: int) -> Json | None:
    if fields is None:
        return None
    read: Json = {name: fields.required_text(name, most=most)}
    for address in ("url", "icon_url"):
        if (value := fields.text(address, most=2048)) is not None:
            read[address] = value
    return read


def _picture(fields: Fields | None, files: Collection[str]) -> Json | None:
    if fields is None:
        return None
    url = fields.required_text("url", most=2048)
    scheme, _, name = url.partition("://")
    if scheme == "attachment" and name not in files:
        fields.wrong("url", "ATTACHMENT_NOT_FOUND", "The referenced attachment was not found")
    elif scheme not in {"attachment", "http", "https"}:
        fields.wrong("url", "URL_TYPE_INVALID_SCHEME", "Scheme must be one of attachment, http, https")
    return {"url": url}


def _letters(value: object) -> int:
    """The letters that count towards an embed's size: titles, descriptions, names, values and footers."""
    if isinstance(value, dict):
        counted = ("title", "description", "name", "value", "text")
        own = sum(len(each) for name, each in value.items() if name in counted and isinstance(each, str))
        return own + sum(_letters(each) for each in value.values() if isinstance(each, dict | list))
    if isinstance(value, list):
        return sum(_letters(each) for each in value)
    return 0
