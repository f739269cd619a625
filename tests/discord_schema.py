"""Checks REST exchanges against Discord's own OpenAPI description, where it lies beside the repository.

Two looser readings than the file's own, both seen on the wire: ids may be integers in requests (discord.py sends
them), and the `code` inside an error tree is a word. One stricter: a request may hold no field that the description
does not know, which is how a misspelt one shows.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pytest
from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DESCRIPTION = Path(__file__).parents[2] / "shared" / "facts" / "discord-openapi.json"
# Fields that discord.py sends, that Discord takes and that its description leaves out.
_ALSO_SENT = {
    "ApplicationCommandCreateRequest": ("nsfw",),
    "ApplicationCommandUpdateRequest": ("nsfw",),
    "ApplicationCommandPatchRequestPartial": ("nsfw",),
    "MessageEditRequestPartial": ("tts",),
    "IncomingWebhookUpdateRequestPartial": ("tts",),
    "IncomingWebhookUpdateForInteractionCallbackRequestPartial": ("tts",),
    # A kept attachment goes back whole, as it came.
    "MessageAttachmentRequest": ("url", "proxy_url", "size", "content_type", "width", "height", "spoiler"),
}
_REQUESTS, _RESPONSES = "urn:discord-requests", "urn:discord-responses"


class Exchange(Protocol):
    """What `sandbox.record.Exchange` is, without importing it."""

    @property
    def method(self) -> str: ...
    @property
    def template(self) -> str: ...
    @property
    def request(self) -> Any: ...
    @property
    def status(self) -> int: ...
    @property
    def response(self) -> Any: ...


class Record(Protocol):
    """What `sandbox.record.Record` is."""

    @property
    def exchanges(self) -> Sequence[Exchange]: ...
    @property
    def unknown(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class ReadExchange:
    """One line of a file that `python -m sandbox --record` wrote."""

    method: str
    template: str
    request: Any
    status: int
    response: Any


def exchanges_in(path: Path) -> list[ReadExchange]:
    """The exchanges of a recorded run."""
    return [ReadExchange(**json.loads(line)) for line in path.read_text().splitlines()]


def check_record(record: Record) -> int:
    """What every run against the sandbox ends with: no unknown route, no fault of its own, bodies as described."""
    assert not record.unknown, f"routes that the sandbox does not have: {dict(record.unknown)}"
    broken = [f"{one.method} {one.template}" for one in record.exchanges if one.status == 500]
    assert not broken, f"the sandbox itself failed at {broken}"
    return check_exchanges(record.exchanges)


def check_exchanges(exchanges: Iterable[Exchange]) -> int:
    """Asserts that every body is as Discord describes it; how many bodies were checked.

    Refused requests are not checked, their refusals are. Skips the test where the description is absent.
    """
    if not DESCRIPTION.exists():
        pytest.skip(f"Discord's description of its API is not here: {DESCRIPTION.name}")
    checked, problems = 0, list[str]()
    for one in exchanges:
        accepted = one.status < 300
        for what, body, validator in (
            ("request", one.request if accepted else None, request_validator(one.method, one.template)),
            ("response", one.response, response_validator(one.method, one.template, one.status)),
        ):
            if body is None or (what == "request" and body == {} and validator is None):
                continue
            where = f"{one.method} {one.template} {one.status} {what}"
            if validator is None:
                problems.append(f"{where}: Discord describes no body")
                continue
            checked += 1
            problems += [f"{where}: {_story(error)}" for error in validator.iter_errors(body)]
    assert not problems, "\n".join(dict.fromkeys(problems))
    return checked


@cache
def request_validator(method: str, template: str) -> Draft202012Validator | None:
    """The validator of a route's request body; None where it takes none. Fails for a route that is not described."""
    content = _operation(method, template).get("requestBody", {}).get("content", {})
    return _validator(_REQUESTS, method, template, "requestBody") if "application/json" in content else None


@cache
def response_validator(method: str, template: str, status: int) -> Draft202012Validator | None:
    """The validator of a route's answer with a status; None where that has no body."""
    if status == 429:
        return _compiled({"$ref": f"{_RESPONSES}#/components/schemas/RatelimitedResponse"})
    if status >= 400:
        return _compiled({"$ref": f"{_RESPONSES}#/components/schemas/ErrorResponse"})
    answer = _operation(method, template)["responses"].get(str(status))
    assert answer is not None, f"Discord never answers {method} {template} with {status}"
    return _validator(_RESPONSES, method, template, f"responses/{status}") if "content" in answer else None


def _operation(method: str, template: str) -> dict[str, Any]:
    path = _documents()[_RESPONSES]["paths"].get(template)
    assert path is not None and method.lower() in path, f"Discord has no {method} {template}"
    return path[method.lower()]


def _validator(document: str, method: str, template: str, part: str) -> Draft202012Validator:
    escaped = template.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
    pointer = f"/paths/{escaped}/{method.lower()}/{part}/content/application~1json/schema"
    return _compiled({"$ref": f"{document}#{pointer}"})


def _compiled(schema: dict[str, str]) -> Draft202012Validator:
    return Draft202012Validator(schema, registry=_registry())


@cache
def _registry() -> Registry[Any]:
    resources = ((name, Resource(body, DRAFT202012)) for name, body in _documents().items())
    return Registry[Any]().with_resources(resources)


@cache
def _documents() -> dict[str, dict[str, Any]]:
    """The description twice: as it is for answers, and closed against unknown fields for requests."""
    read: dict[str, dict[str, Any]] = {}
    for name in (_REQUESTS, _RESPONSES):
        body = json.loads(DESCRIPTION.read_text())
        schemas = body["components"]["schemas"]
        schemas["SnowflakeType"]["type"] = ["string", "integer"]
        schemas["Error"]["properties"]["code"]["type"] = ["integer", "string"]
        if name == _REQUESTS:
            for of, schema in schemas.items():
                if "properties" in schema and "allOf" not in schema:
                    schema["properties"] |= dict.fromkeys(_ALSO_SENT.get(of, ()), True)
                    schema.setdefault("additionalProperties", False)
        read[name] = body
    return read


def _story(error: ValidationError) -> str:
    """Where and what; for a choice of shapes, of the shape whose `type` fits, or else that came nearest."""
    while error.context:
        shapes: dict[object, list[ValidationError]] = {}
        for one in error.context:
            shapes.setdefault(one.schema_path[0], []).append(one)
        error = min(shapes.values(), key=lambda shape: (any(_about_type(one) for one in shape), len(shape)))[0]
    return f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"


def _about_type(error: ValidationError) -> bool:
    return [*error.relative_path] in ([], ["type"]) and error.validator in {"enum", "const", "type"}
