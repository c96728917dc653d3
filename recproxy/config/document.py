"""YAML files whose every value knows its line.

A document is read into a tree of nodes, and the tree into frozen msgspec
Structs by the types of their fields. The type decides what a scalar is, not its
spelling: ``+31301234567`` stays a telephone number and ``no`` stays a word.
Unknown and repeated keys are errors, and so are anchors, aliases and tags,
which a configuration needs for nothing. All problems of a file are reported
at once, as ``file:line: key: what is wrong; the mend``.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar, cast

import msgspec
import yaml

from recproxy.errors import ConfigError

__all__ = ["Document", "FilePath", "Key", "Parsers", "Place", "Problem", "dotted", "read"]

MAX_BYTES: Final = 1_048_576
MAX_DEPTH: Final = 16
_SHOWN: Final = 60
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})

T = TypeVar("T", bound=msgspec.Struct)
FilePath: typing.TypeAlias = Path
Key: typing.TypeAlias = tuple[str | int, ...]
Parsers: typing.TypeAlias = Mapping[Hashable, Callable[[str], object]]


class Place(NamedTuple):
    """Where something stands.

    Attributes:
        file: Name of the file.
        line: From 1.
    """

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where.

    Attributes:
        place: File and line.
        key: The path of the key, with dots.
        what: What is wrong; the mend.
        code: Of the rule that is broken; empty if rules have no codes.
    """

    place: Place
    key: str
    what: str
    code: str = ""

    def __str__(self) -> str:
        code = f"{self.code} " if self.code else ""
        return f"{self.place.file}:{self.place.line}: {self.key}: {code}{self.what}"


class _Bad:
    """Stands for a value that a problem was noted for."""


_BAD: Final = _Bad()


def read(path: Path) -> str:
    """Read a configuration file.

    Args:
        path: Its place.

    Returns:
        Its text, line endings as they are, so that its hash is that of the file.

    Raises:
        ConfigError: It cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read: {err.strerror}") from err
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise ConfigError(f"{path}:{line}: byte 0x{data[err.start]:02x} is not UTF-8") from err


@dataclass(slots=True)
class Document:
    """A parsed YAML file; collects the problems found in it.

    Attributes:
        name: Of the file, as error messages show it.
        root: The top mapping.
        error: The class of error to raise.
        code: Of a problem that the form of the file has.
        problems: Each problem so far.
    """

    name: str
    root: yaml.MappingNode
    error: type[ConfigError] = ConfigError
    code: str = ""
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str, name: str, error: type[ConfigError] = ConfigError) -> Document:
        """Read the text of a YAML file.

        Raises:
            ConfigError: Or the class given: it is not YAML, holds no mapping, or uses
                what a configuration may not use.
        """
        try:
            _refuse_tricks(text, name, error)
            root = _composed(text, name)
        except yaml.MarkedYAMLError as err:
            mark = err.problem_mark or err.context_mark
            where = f"{name}:{mark.line + 1}" if mark else name
            raise error(f"{where}: not YAML: {err.problem or err.context}") from err
        except yaml.reader.ReaderError as err:
            line = text.count("\n", 0, err.position) + 1
            raise error(f"{name}:{line}: the character {text[err.position]!a} may not be in YAML") from err
        if root is None:
            raise error(f"{name}: empty; every key of it is in the example beside the manual")
        if not isinstance(root, yaml.MappingNode):
            raise error(f"{name}:1: not a mapping of keys to values")
        return cls(name, root, error)

    def note(self, key: Key, what: str, code: str = "") -> None:
        """Note a problem at ``key``, or at what is left of its path in the file."""
        self.problems.append(Problem(self.place(key), dotted(key), what, code or self.code))

    def place(self, key: Key) -> Place:
        """Place of a key, or of the nearest thing around it that the file has."""
        node: yaml.Node = self.root
        place = Place(self.name, 1)
        for step in key:
            found = _child(node, step)
            if found is None:
                break
            place, node = found
        return place

    def line(self, key: Key) -> int:
        """Line of a key, or of the nearest thing around it that the file has."""
        return self.place(key).line

    def finish(self) -> None:
        """Raise what was noted, in the order of the file; nothing if there is nothing.

        Raises:
            ConfigError: Or the class given at the start.
        """
        if self.problems:
            raise self.error(*map(str, self.sorted()))

    def sorted(self) -> list[Problem]:
        """The problems in the order of the file, those of other files after it."""
        return sorted(self.problems, key=lambda found: (found.place.file != self.name, found.place))

    def check_version(self, version: int) -> None:
        """Refuse a file that says it was written for another version, before anything else.

        Raises:
            ConfigError: Or the class given at the start.
        """
        found = _child(self.root, "version")
        if found is not None and found[1].value != str(version):
            place, node = found
            self._note(place, ("version",), f"{_shown(node.value)}; this recproxy reads version: {version}")
            self.finish()

    def build(self, kind: type[T], parsers: Parsers) -> T:
        """Make the Struct that the file describes.

        Args:
            kind: Type of the whole file.
            parsers: How to read the types of scalars that msgspec does not know; each
                raises ValueError with the rest of a sentence (``is not …``).

        Returns:
            The value.

        Raises:
            ConfigError: Or the class given at the start: with every problem found.
        """
        value = self._value(self.root, kind, (), parsers)
        self.finish()
        return cast("T", value)

    def _note(self, place: Place, key: Key, what: str) -> None:
        self.problems.append(Problem(place, dotted(key), what, self.code))

    def _value(self, node: yaml.Node, kind: Any, key: Key, parsers: Parsers) -> object:  # noqa: ANN401
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        if kind in parsers and (not is_struct or isinstance(node, yaml.ScalarNode)):
            # A Struct with a parser may be written as one value, or key by key.
            return self._scalar(node, key, parsers[kind])
        if origin in {typing.Union, types.UnionType}:
            if _is_null(node):
                return None
            inner = next(argument for argument in arguments if argument is not type(None))
            return self._value(node, inner, key, parsers)
        if is_struct:
            return self._struct(node, kind, key, parsers)
        if origin is tuple:
            return self._tuple(node, arguments[0], key, parsers)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return self._mapping(node, arguments, key, parsers)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return self._scalar(node, key, _enum_parser(kind))
        return self._scalar(node, key, _plain_parser(kind))

    def _scalar(self, node: yaml.Node, key: Key, parser: Callable[[str], object]) -> object:
        if not isinstance(node, yaml.ScalarNode) or _is_null(node):
            held = "empty" if isinstance(node, yaml.ScalarNode) else "not a single value"
            self._note(_place(node), key, held)
            return _BAD
        try:
            return parser(node.value)
        except ValueError as err:
            self._note(_place(node), key, f"{_shown(node.value)} {err}")
            return _BAD

    def _struct(self, node: yaml.Node, kind: type[msgspec.Struct], key: Key, parsers: Parsers) -> object:
        fields = {item.encode_name: item for item in msgspec.structs.fields(kind)}
        hints = typing.get_type_hints(kind, include_extras=True)
        values: dict[str, object] = {}
        seen: set[str] = set()
        for place, name, value in self._pairs(node, key):
            seen.add(name)
            if name not in fields:
                self._note(place, (*key, name), f"unknown key; {_nearest(name, fields)}")
                continue
            item = fields[name]
            values[item.name] = self._value(value, hints[item.name], (*key, name), parsers)
        if not _is_mapping(node):
            return _BAD
        for name, item in fields.items():
            if name not in seen and item.required:
                self._note(
                    Place(self.name, 1) if key == () else self.place(key),
                    (*key, name),
                    f"missing{_wanted(hints[item.name])}",
                )
                values[item.name] = _BAD
        if any(value is _BAD for value in values.values()):
            return _BAD
        return kind(**values)

    def _mapping(self, node: yaml.Node, arguments: tuple[Any, ...], key: Key, parsers: Parsers) -> object:
        found: dict[object, object] = {}
        name_parser = parsers.get(arguments[0], str)
        for place, name, value in self._pairs(node, key):
            try:
                name_parser(name)
            except ValueError as err:
                self._note(place, (*key, name), f"the name {err}")
            found[name] = self._value(value, arguments[1], (*key, name), parsers)
        bad = any(value is _BAD for value in found.values()) or not _is_mapping(node)
        return _BAD if bad else MappingProxyType(found)

    def _tuple(self, node: yaml.Node, kind: Any, key: Key, parsers: Parsers) -> object:  # noqa: ANN401
        if isinstance(node, yaml.ScalarNode) and not _is_null(node):
            # A list of one may be written as the one.
            only = self._value(node, kind, key, parsers)
            return _BAD if only is _BAD else (only,)
        if _is_null(node):
            return ()
        if not isinstance(node, yaml.SequenceNode):
            self._note(_place(node), key, "not a list")
            return _BAD
        found = tuple(self._value(item, kind, (*key, at), parsers) for at, item in enumerate(node.value))
        return _BAD if any(value is _BAD for value in found) else found

    def _pairs(self, node: yaml.Node, key: Key) -> Iterable[tuple[Place, str, yaml.Node]]:
        """Line, name and value of a mapping's keys, without repeated ones; none if it is empty."""
        if _is_null(node):
            return
        if not isinstance(node, yaml.MappingNode):
            self._note(_place(node), key, "not a mapping of keys to values")
            return
        places: dict[str, Place] = {}
        for name, value in node.value:
            place = _place(name)
            if not isinstance(name, yaml.ScalarNode):
                self._note(place, key, "a key that is not a word")
            elif name.value in places:
                first = places[name.value]
                elsewhere = f" of {first.file}" if first.file != place.file else ""
                self._note(
                    place,
                    (*key, name.value),
                    f"a second time; the first is in line {first.line}{elsewhere}",
                )
            else:
                places[name.value] = place
                yield place, name.value, value


def _refuse_tricks(text: str, name: str, error: type[ConfigError]) -> None:
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = f"{name}:{event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise error(f"{where}: an anchor or alias; write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            raise error(f"{where}: a tag, {_shown(tag)}; leave it out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise error(f"{where}: nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise error(f"{where}: a second document; a file holds one")


def _composed(text: str, name: str) -> yaml.Node | None:
    """The node tree, whose marks know the file."""
    loader = yaml.SafeLoader(text)
    try:
        loader.name = name
        node: yaml.Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    return node


def _child(node: yaml.Node, step: str | int) -> tuple[Place, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value == step:
                return _place(name), value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
        return _place(node.value[step]), node.value[step]
    return None


def _place(node: yaml.Node) -> Place:
    return Place(str(node.start_mark.name), int(node.start_mark.line) + 1)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _NULL


def _is_mapping(node: yaml.Node) -> bool:
    """Whether it is one, or empty: a key whose own keys are all commented out."""
    return isinstance(node, yaml.MappingNode) or _is_null(node)


def dotted(key: Key) -> str:
    """A key's path as messages show it."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key)
    return text.removeprefix(".") or "file"


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(names)}"


def _wanted(kind: Any) -> str:  # noqa: ANN401
    described = _description(kind)
    return f"; give {described}" if described else ""


def _description(kind: Any) -> str:  # noqa: ANN401
    notes = [extra for extra in getattr(kind, "__metadata__", ()) if isinstance(extra, msgspec.Meta)]
    if notes:
        return notes[0].description or ""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(str(member.value) for member in kind)}"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "")


def _enum_parser(kind: type[Enum]) -> Callable[[str], object]:
    def parse(text: str) -> object:
        try:
            return kind(text)
        except ValueError as err:
            raise ValueError(f"is not {_description(kind)}") from err

    return parse


def _plain_parser(kind: Any) -> Callable[[str], object]:  # noqa: ANN401
    def parse(text: str) -> object:
        try:
            return msgspec.convert(text, kind, strict=False)
        except msgspec.ValidationError as err:
            wanted = _description(kind)
            raise ValueError(f"is not {wanted}" if wanted else f"does not fit: {err}") from err

    return parse


def _shown(value: object) -> str:
    text = str(value)
    return repr(text[:_SHOWN] + ("…" if len(text) > _SHOWN else ""))
