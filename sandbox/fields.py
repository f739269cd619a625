"""Reading a request's JSON field by field. All that is wrong is told at once, under its path, as 50035 does."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeVar

from sandbox.records import Json
from sandbox.refusals import Refusal

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Problems:
    """What was found wrong so far."""

    found: list[tuple[tuple[str, ...], str, str]] = field(default_factory=list[tuple[tuple[str, ...], str, str]])

    def add(self, path: tuple[str, ...], code: str, message: str) -> None:
        self.found.append((path, code, message))

    def check(self) -> None:
        """Refuses the request if anything was wrong."""
        if not self.found:
            return
        tree: Json = {}
        for path, code, message in self.found:
            node = tree
            for step in path:
                below = node.setdefault(step, {})
                node = below if isinstance(below, dict) else node
            listed = node.setdefault("_errors", [])
            if isinstance(listed, list):
                listed.append({"code": code, "message": message})
        raise Refusal(400, 50035, "Invalid Form Body", tree)


@dataclass(frozen=True, slots=True)
class Fields:
    """One object of a request. A reader hands back a usable value even after a problem, so that reading goes on."""

    given: Json
    problems: Problems = field(default_factory=Problems)
    path: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        """Whether a field was sent at all; null counts."""
        return name in self.given

    def wrong(self, name: str, code: str, message: str) -> None:
        """Notes a problem with a field, or with the object itself where `name` is empty."""
        self.problems.add((*self.path, name) if name else self.path, code, message)

    def text(self, name: str, *, most: int, least: int = 0) -> str | None:
        value = self._typed(name, str, "STRING_TYPE_CONVERT", "string")
        if value is None:
            return None
        if len(value) > most and not least:
            self.wrong(name, "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")
        elif not least <= len(value) <= most:
            self.wrong(name, "BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length.")
        return value

    def required_text(self, name: str, *, most: int, least: int = 1) -> str:
        if self.given.get(name) is None:
            self.missing(name)
        return self.text(name, most=most, least=least) or ""

    def integer(self, name: str, *, least: int = 0, most: int = 2**53) -> int | None:
        value = self.given.get(name)
        if value is None:
            return None
        if isinstance(value, str) and value.lstrip("-").isdigit():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(name, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
            return None
        if not least <= value <= most:
            self.wrong(name, "BASE_TYPE_BAD_RANGE", f"Must be between {least} and {most}.")
            return None
        return value

    def choice(self, name: str, allowed: Collection[int]) -> int:
        """A required integer out of a few; the first of them after a problem."""
        if self.given.get(name) is None:
            self.missing(name)
        value = self.integer(name)
        if value is not None and any(value == one for one in allowed):
            return value
        if value is not None:
            self.wrong(name, "BASE_TYPE_CHOICES", f"Value must be one of {tuple(sorted(allowed))}.")
        return min(allowed)

    def number(self, name: str) -> float | None:
        value = self.given.get(name)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        self.wrong(name, "FLOAT_TYPE_COERCE", f'Value "{value}" is not float.')
        return None

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self._typed(name, bool, "BOOLEAN_TYPE_CONVERT", "true or false")
        return default if value is None else value

    def snowflake(self, name: str) -> int | None:
        value = self.given.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not str(value).isdigit():
            self.wrong(name, "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')
            return None
        return int(str(value))

    def snowflakes(self, name: str, *, most: int) -> list[int]:
        listed = self._listed(name, least=0, most=most)
        return [int(str(one)) for one in listed if str(one).isdigit()]

    def nested(self, name: str) -> "Fields | None":
        value = self._typed(name, dict, "DICT_TYPE_CONVERT", "object")
        return None if value is None else Fields(value, self.problems, (*self.path, name))

    def required_nested(self, name: str) -> "Fields":
        if self.given.get(name) is None:
            self.missing(name)
        return self.nested(name) or Fields({}, Problems(), (*self.path, name))

    def objects(self, name: str, *, most: int, least: int = 0) -> list["Fields"]:
        """A list of objects; empty where it is absent."""
        listed = self._listed(name, least=least, most=most)
        read: list[Fields] = []
        for place, value in enumerate(listed):
            path = (*self.path, name, str(place))
            if isinstance(value, dict):
                read.append(Fields(value, self.problems, path))
            else:
                self.problems.add(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
        return read

    def missing(self, name: str) -> None:
        self.wrong(name, "BASE_TYPE_REQUIRED", "This field is required")

    def _listed(self, name: str, *, least: int, most: int) -> list[object]:
        value = self._typed(name, list, "LIST_TYPE_CONVERT", "list")
        listed: list[object] = [] if value is None else value
        if value is None and least:
            self.missing(name)
        elif not least <= len(listed) <= most:
            self.wrong(name, "BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length.")
        return listed[:most]

    def _typed(self, name: str, kind: type[T], code: str, word: str) -> T | None:
        value = self.given.get(name)
        if value is None or isinstance(value, kind):
            return value
        self.wrong(name, code, f"Must be a {word}.")
        return None
