"""A hosted model's own description of its input, as its provider gives it: OpenAPI, as far as it is needed. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Self, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from clips.errors import SetupError


class Node(BaseModel):
    """One schema: of an input as a whole, or of one of its fields."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    type: str | None = None
    enum: tuple[JsonValue, ...] = ()
    default: JsonValue = None
    minimum: float | None = None
    maximum: float | None = None
    all_of: tuple[Self, ...] = Field(default=(), alias="allOf")
    any_of: tuple[Self, ...] = Field(default=(), alias="anyOf")
    ref: str | None = Field(default=None, alias="$ref")
    properties: dict[str, Self] = Field(default_factory=dict)
    required: tuple[str, ...] = ()

    @field_validator("type", mode="before")
    @classmethod
    def _one_type(cls, told: object) -> object:
        """What may be null as well is told as a list of types by newer providers."""
        if not isinstance(told, list):
            return told
        return next((kind for kind in cast("list[object]", told) if kind != "null"), None)


class _Components(BaseModel):
    schemas: dict[str, JsonValue]


class _Api(BaseModel):
    components: _Components


class _Version(BaseModel):
    id: str
    openapi_schema: _Api


class _Page(BaseModel):
    owner: str
    name: str
    latest_version: _Version | None = None


class InputSchema:
    """What one version of a model takes."""

    def __init__(self, slug: str, version: str, schemas: Mapping[str, JsonValue]) -> None:
        """Raises `SetupError` where there is no schema of an input among them."""
        self.slug = slug
        self.version = version
        self._schemas = schemas
        told = self._named("Input")
        if not told.properties:
            raise SetupError(f"{slug}: its schema tells nothing of its input. Compare it by hand.")
        self.required = told.required
        self.fields: Mapping[str, Node] = {name: self._resolved(node) for name, node in told.properties.items()}

    @classmethod
    def of_version(cls, text: str | bytes, slug: str) -> Self:
        """From the answer to `GET /v1/models/{owner}/{name}/versions/{id}`. Raises `SetupError`."""
        try:
            version = _Version.model_validate_json(text)
        except ValidationError as error:
            raise SetupError(f"{slug}: not a provider's description of a version.") from error
        return cls(slug, version.id, version.openapi_schema.components.schemas)

    @classmethod
    def of_page(cls, text: str | bytes, where: str) -> Self:
        """From the answer to `GET /v1/models/{owner}/{name}`. Raises `SetupError` that names `where` it came from."""
        try:
            page = _Page.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise SetupError(f"{where}: not a provider's page of a model: {field}: {first['msg']}.") from error
        slug = f"{page.owner}/{page.name}"
        if page.latest_version is None:
            raise SetupError(f"{where}: {slug} has no version, and so no schema. See whether it can be run at all.")
        version = page.latest_version
        return cls(slug, version.id, version.openapi_schema.components.schemas)

    def _named(self, name: str) -> Node:
        """A schema by its name. One that is not there, or is told in a way that nobody here reads, says nothing."""
        try:
            return Node.model_validate(self._schemas.get(name, {}))
        except ValidationError:
            return Node()

    def _resolved(self, node: Node, depth: int = 0) -> Node:
        """A field with what it refers to: an enumeration is a schema of its own, what may be null a choice of two."""
        parts = [*node.all_of, *(part for part in node.any_of if part.type != "null")]
        if node.ref:
            parts.append(self._named(node.ref.rpartition("/")[2]))
        told = node
        for part in parts if depth < 4 else ():
            found = self._resolved(part, depth + 1)
            told = told.model_copy(
                update={
                    name: getattr(found, name)
                    for name in ("type", "enum", "minimum", "maximum")
                    if getattr(told, name) in (None, ())
                }
            )
        return told


def takes(node: Node, value: object) -> bool:
    """Would a field of this schema take the value? Files and lists are judged by their type alone."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
        "array": Sequence,
    }
    kind = kinds.get(node.type or "")
    if kind is not None and not isinstance(value, kind):
        return False
    if node.type in {"integer", "number"} and isinstance(value, bool):
        return False
    if node.type == "array" and isinstance(value, str):
        return False
    if node.enum and value not in node.enum:
        return False
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (node.minimum is None or value >= node.minimum) and (node.maximum is None or value <= node.maximum)
    return True


def wanted(node: Node) -> str:
    """What a field takes, in a few words."""
    if node.enum:
        return "one of " + ", ".join(json.dumps(value) for value in node.enum)
    bounds = [f"at least {node.minimum:g}"] if node.minimum is not None else []
    bounds += [f"at most {node.maximum:g}"] if node.maximum is not None else []
    return " ".join([node.type or "something else", " and ".join(bounds)]).strip()
