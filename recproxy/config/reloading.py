"""What a reload changes, and what of it only a restart can. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from recproxy.config.settings import Config
from recproxy.errors import ConfigError

__all__ = ["changes", "check_reload"]

#: Keys, and the beginnings of keys, that a running daemon takes over. ``retention`` is that of
#: another process.
_LIVE: Final = ("policy", "sip.drain", "trunks", "retention", "log.level", "cdr.keep")


def changes(old: Config, new: Config) -> tuple[str, ...]:
    """Keys whose values differ, dotted as in error messages, in the order of the file."""
    return tuple(_changes(old, new, ""))


def check_reload(old: Config, new: Config, name: str) -> tuple[str, ...]:
    """Tell what a reload would change.

    Args:
        old: In force.
        new: Read just now.
        name: Of the file, for messages.

    Returns:
        The keys that change.

    Raises:
        ConfigError: Some of them need a restart; each is named, and nothing may be taken over.
    """
    changed = changes(old, new)
    fixed = [key for key in changed if not _is_live(key)]
    if fixed:
        raise ConfigError(*(f"{name}: {key}: changed, which needs a restart" for key in fixed))
    return changed


def _is_live(key: str) -> bool:
    return any(key == live or key.startswith(f"{live}.") for live in _LIVE)


def _changes(old: object, new: object, key: str) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, msgspec.Struct) and type(old) is type(new):
        for field in msgspec.structs.fields(old):
            yield from _changes(getattr(old, field.name), getattr(new, field.name), _joined(key, field.name))
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys((*old, *new)):
            yield from _changes(old.get(name), new.get(name), _joined(key, str(name)))
    else:
        yield key


def _joined(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
