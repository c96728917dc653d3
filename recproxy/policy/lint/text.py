"""Rules about what is written, whatever it means: switches that must not be, and secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import yaml

from recproxy.config import Document, Key

__all__ = ["check_tree"]

_SWITCHES: Final = re.compile(
    r"(?:is_)?(?:enabled?|disabled?|skip\w*|delay\w*|silent|mute|bypass|optional|after_\w+|gate\w*|when|off)\Z"
)
_OFF: Final = frozenset({"off", "no", "none", "false", "never", "skip", "disabled"})
_SECRET: Final = re.compile(
    r"AGE-SECRET-KEY-|-----BEGIN [A-Z ]*PRIVATE KEY|\b(?:password|passwd|secret|token|api_?key)\s*[=:]\s*\S"
    r"|://[^/\s:@]+:[^/\s:@]+@|\b(?:ghp|gho|xox[bp]|AKIA)[-_A-Z0-9a-z]{12,}",
    re.IGNORECASE,
)
_SECRET_KEY: Final = re.compile(r"(?:.*_)?(?:password|passwd|secret|token|api_key|private_key)\Z")


def check_tree(document: Document) -> None:
    """Note switches of the announcement, and what looks like a secret."""
    for key, node in _scalars(document.root, ()):
        _check_switch(document, key, node)
        name = str(key[-1]) if key else ""
        if _SECRET.search(node.value) or (_SECRET_KEY.match(name) and node.value):
            document.note(
                key,
                "looks like a secret, and a policy is read by many; put it into a file of its own",
                "E020",
            )


def _check_switch(document: Document, key: Key, node: yaml.ScalarNode) -> None:
    if key[:1] != ("purposes",):
        return
    match key[2:]:
        case ("announce",) if node.value.lower() in _OFF:
            what = f"{node.value!r} would leave out the announcement"
        case ("announce", str(switch)) if _SWITCHES.match(switch):
            what = f"{node.value!r} would leave out or put off the announcement"
        case _:
            return
    document.note(key, f"{what}; nothing is recorded without it: take the key out", "E008")


def _scalars(node: yaml.Node, key: Key) -> Iterator[tuple[Key, yaml.ScalarNode]]:
    if isinstance(node, yaml.ScalarNode):
        yield key, node
    elif isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode):
                yield from _scalars(value, (*key, name.value))
    elif isinstance(node, yaml.SequenceNode):
        for at, value in enumerate(node.value):
            yield from _scalars(value, (*key, at))
