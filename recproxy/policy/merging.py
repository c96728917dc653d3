"""``policy.yaml`` and the files of ``policy.d``, read as one document whose every value knows its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from recproxy.config import Document
from recproxy.errors import PolicyError

__all__ = ["FORM", "VERSION", "Source", "merged"]

VERSION: Final = 1
FORM: Final = "E001"  # code of what the form of the file breaks
_ADDED_TO: Final = frozenset({"lines", "roles", "prompts", "key_groups", "purposes"})


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a policy.

    Attributes:
        name: For messages.
        text: Of the file.
    """

    name: str
    text: str


def merged(sources: Sequence[Source]) -> Document:
    """Read the files of a policy as one.

    What stands in ``lines``, ``roles``, ``prompts``, ``key_groups`` and ``purposes`` of a later file is
    added to that of the first; any other key may stand in one file only, and no name in two.

    Args:
        sources: At least one; the first is the main file.

    Raises:
        PolicyError: One of them is not YAML, or is of another version.
    """
    documents = [_read(source) for source in sources]
    first = documents[0]
    pairs: list[tuple[yaml.Node, yaml.Node]] = []
    places: dict[str, int] = {}
    for document in documents:
        for name, value in document.root.value:
            word = name.value if isinstance(name, yaml.ScalarNode) else ""
            if document is not first and word == "version":
                continue
            at = places.setdefault(word, len(pairs))
            if document is first or word not in _ADDED_TO or at == len(pairs):
                pairs.append((name, value))
            else:
                pairs[at] = (pairs[at][0], _joined(pairs[at][1], value))
    root = yaml.MappingNode(first.root.tag, pairs, first.root.start_mark, first.root.end_mark)
    return Document(first.name, root, PolicyError, FORM)


def _read(source: Source) -> Document:
    document = Document.parse(source.text, source.name, PolicyError)
    document.check_version(VERSION)
    return document


def _joined(one: yaml.Node, other: yaml.Node) -> yaml.Node:
    if not (isinstance(one, yaml.MappingNode) and isinstance(other, yaml.MappingNode)):
        return other if isinstance(one, yaml.MappingNode) or not one.value else one
    return yaml.MappingNode(one.tag, [*one.value, *other.value], one.start_mark, one.end_mark)
