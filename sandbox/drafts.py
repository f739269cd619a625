"""A message that the application wants to send or change: read from a request and checked by Discord's rules."""

import re
from dataclasses import dataclass, field

from sandbox.components import read_components
from sandbox.embeds import read_embeds
from sandbox.fields import Fields
from sandbox.forms import Upload
from sandbox.records import Attachment, Json, Message, MessageFlag
from sandbox.refusals import empty_message

MOST_LETTERS = 2000
MOST_FILES = 10
SENDABLE = MessageFlag.SUPPRESS_EMBEDS | MessageFlag.SUPPRESS_NOTIFICATIONS | MessageFlag.COMPONENTS_V2
EDITABLE = MessageFlag.SUPPRESS_EMBEDS | MessageFlag.COMPONENTS_V2


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to attach: what came in, under the name that it will have."""

    upload: Upload
    filename: str
    description: str | None


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file that the message already has and keeps."""

    id: int
    description: str | None


@dataclass(frozen=True, slots=True)
class AllowedMentions:
    """Who may be pinged. Without it, everyone that the text names."""

    kinds: frozenset[str] = frozenset({"users", "roles", "everyone"})
    users: frozenset[int] = frozenset()
    roles: frozenset[int] = frozenset()
    replied_user: bool = True


@dataclass(frozen=True, slots=True)
class Reference:
    """A reply: to which message, and whether it is sent without one that is gone."""

    message_id: int
    fail_if_not_exists: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """A message as it will be: on an edit, what the request leaves out is taken from the message as it is."""

    content: str
    embeds: list[Json]
    components: list[Json]
    flags: int
    kept: list[KeptFile] = field(default_factory=list[KeptFile])
    new: list[NewFile] = field(default_factory=list[NewFile])
    mentions: AllowedMentions = field(default_factory=AllowedMentions)
    reference: Reference | None = None
    nonce: str | int | None = None
    enforce_nonce: bool = False


_BLANK = Message(0, 0, 0, 0)


def read_draft(
    fields: Fields,
    files: dict[int, Upload],
    *,
    flags_allowed: int,
    before: Message = _BLANK,
    attachments_before: list[Attachment] | None = None,
) -> Draft:
    """Reads a message body; `before` is the message that an edit changes. Raises `Refusal`."""
    existing = attachments_before or []
    kept, new = _read_files(fields, files, existing)
    kept_names = [one.filename for one in existing if one.id in {each.id for each in kept}]
    names = [*kept_names, *(one.filename for one in new)]
    flags = _read_flags(fields, before, flags_allowed)
    v2 = bool(flags & MessageFlag.COMPONENTS_V2)
    draft = Draft(
        content=(fields.text("content", most=MOST_LETTERS) or "") if fields.has("content") else before.content,
        embeds=read_embeds(fields, names) if fields.has("embeds") else before.embeds,
        components=read_components(fields, v2=v2, files=names) if fields.has("components") else before.components,
        flags=flags,
        kept=kept,
        new=new,
        mentions=_read_mentions(fields.nested("allowed_mentions")),
        reference=_read_reference(fields.nested("message_reference")),
        nonce=_read_nonce(fields),
        enforce_nonce=fields.flag("enforce_nonce"),
    )
    if v2 and (draft.content or draft.embeds):
        sentence = "The 'content' and 'embeds' fields cannot be used with MessageFlags.IS_COMPONENTS_V2"
        name = "content" if draft.content else "embeds"
        fields.wrong(name, "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", sentence)
    fields.problems.check()
    if not (draft.content or draft.embeds or draft.kept or draft.new or (v2 and draft.components)):
        raise empty_message()
    return draft


def _read_flags(fields: Fields, before: Message, allowed: int) -> int:
    if not fields.has("flags"):
        return before.flags
    asked = fields.integer("flags", most=2**31) or 0
    if asked & ~allowed & ~before.flags:
        fields.wrong("flags", "BITFIELD_TYPE_INVALID", f"Flags may be any of the bits of {allowed}")
    if before.flags & MessageFlag.COMPONENTS_V2 and not asked & MessageFlag.COMPONENTS_V2:
        sentence = "The IS_COMPONENTS_V2 flag cannot be removed from a message"
        fields.wrong("flags", "MESSAGE_CANNOT_REMOVE_COMPONENTS_V2_FLAG", sentence)
    return (before.flags & ~allowed) | (asked & allowed)


def _read_files(
    fields: Fields, files: dict[int, Upload], existing: list[Attachment]
) -> tuple[list[KeptFile], list[NewFile]]:
    """`attachments` names what stays and describes what comes; without it everything stays and everything comes."""
    if fields.given.get("attachments") is None:
        kept = [KeptFile(one.id, one.description) for one in existing]
        new = [NewFile(upload, clean_name(upload.filename), None) for upload in files.values()]
    else:
        kept, new = [], []
        own = {one.id: one for one in existing}
        for each in fields.objects("attachments", most=MOST_FILES):
            number = each.snowflake("id")
            description = each.text("description", most=1024)
            if number in own:
                keeps = description if each.has("description") else own[number].description
                kept.append(KeptFile(number, keeps))
            elif number in files:
                name = each.text("filename", most=1024) or files[number].filename
                new.append(NewFile(files[number], clean_name(name), description))
            else:
                each.wrong("id", "ATTACHMENT_NOT_FOUND", "No attachment and no file of this request has this id")
    if len(kept) + len(new) > MOST_FILES:
        fields.wrong("attachments", "BASE_TYPE_MAX_LENGTH", f"Must be {MOST_FILES} or fewer in length.")
    return kept, new


def clean_name(name: str) -> str:
    """A file's name as Discord keeps it: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^\w.-]+", "_", name.rsplit("/", 1)[-1], flags=re.ASCII).lstrip(".")[-200:] or "file"


def _read_mentions(fields: Fields | None) -> AllowedMentions:
    if fields is None:
        return AllowedMentions()
    listed = fields.given.get("parse")
    kinds = frozenset(str(one) for one in listed) if isinstance(listed, list) else frozenset[str]()
    users, roles = (frozenset(fields.snowflakes(name, most=100)) for name in ("users", "roles"))
    for name, ids in (("users", users), ("roles", roles)):
        if name in kinds and ids:
            sentence = f'parse:["{name}"] and {name}: [ids...] are mutually exclusive.'
            fields.wrong("", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", sentence)
    return AllowedMentions(kinds, users, roles, fields.flag("replied_user"))


def _read_reference(fields: Fields | None) -> Reference | None:
    if fields is None:
        return None
    if fields.given.get("message_id") is None:
        fields.missing("message_id")
    return Reference(fields.snowflake("message_id") or 0, fields.flag("fail_if_not_exists", default=True))


def _read_nonce(fields: Fields) -> str | int | None:
    value = fields.given.get("nonce")
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return fields.text("nonce", most=25)
