"""From the files of a policy to a :class:`Policy`: scalars, form, and the linter's rules."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType
from typing import Final, Protocol, TypeVar

from msgspec.structs import replace

from recproxy.config import FilePath, Key, Parsers, Problem, parse_duration, read
from recproxy.errors import PolicyError
from recproxy.policy.deciding import Policy
from recproxy.policy.emergency import Emergency, HelpLines
from recproxy.policy.file import (
    KeyGroupName,
    NumberPrefix,
    PolicyFile,
    RoleName,
    version_of,
)
from recproxy.policy.hidden import ConfidentialNumbers, Sampler, parse_key, parse_tokens
from recproxy.policy.lint import Lint, Surroundings, check_all, check_tree
from recproxy.policy.merging import Source, merged
from recproxy.policy.numbers import NumberPattern, parse_pattern
from recproxy.policy.purpose import Language, LineName, PromptId, PurposeName

__all__ = ["Attachments", "Report", "attachments_of", "examine", "load_policy", "parse", "sources_of"]

_PURPOSE: Final = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")  # as storage.tags wants it
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}\Z")
_PREFIX: Final = re.compile(r"\+[1-9][0-9]{0,14}\Z")

T = TypeVar("T")
_OTHERS: Final = 0o037  # a credential of systemd has mode 0440


class Attachments(Protocol):
    """Reads the files that a policy names."""

    def __call__(self, name: str, *, secret: bool = False) -> bytes:
        """The content of a file.

        Args:
            name: As the policy has it.
            secret: Whether it is a key, which nobody else may read.

        Raises:
            OSError: It cannot be read, or is a key that others can read.
        """


@dataclass(frozen=True, slots=True)
class Report:
    """What an examination of a policy found.

    Attributes:
        policy: The policy; None if there are problems.
        problems: Broken rules, in the order of the files.
        warnings: What deserves a look, likewise.
    """

    policy: Policy | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def load_policy(path: FilePath, around: Surroundings) -> Policy:
    """Read and check ``policy.yaml`` and the files of ``policy.d`` beside it.

    Args:
        path: Of the main file.
        around: What else the rules go by.

    Raises:
        ConfigError: A file cannot be read.
        PolicyError: It is wrong; every problem is named.
    """
    return parse(sources_of(path), around, attachments_of(path))


def sources_of(path: FilePath) -> tuple[Source, ...]:
    """The files of a policy: the main one, then those of its directory in the order of their names.

    Raises:
        ConfigError: One cannot be read.
    """
    added = sorted(path.with_suffix(".d").glob("*.yaml"))
    return tuple(Source(str(one), read(one)) for one in (path, *added))


def attachments_of(path: FilePath) -> Attachments:
    """Read the files that a policy names, from its directory on."""

    def attached(name: str, *, secret: bool = False) -> bytes:
        named = path.parent / name
        mode = named.stat().st_mode & 0o777
        if secret and mode & _OTHERS:
            raise PermissionError(errno.EACCES, f"mode {mode:04o} lets others use the key, chmod 600", name)
        return named.read_bytes()

    return attached


def parse(sources: Sequence[Source], around: Surroundings, attached: Attachments) -> Policy:
    """Check the texts of a policy.

    Args:
        sources: The main file, then those that add to it.
        around: What else the rules go by.
        attached: Gives the content of a file that the policy names; raises OSError.

    Returns:
        The policy.

    Raises:
        PolicyError: It is wrong; every problem is named with its line.
    """
    report = examine(sources, around, attached)
    if report.policy is None:
        raise PolicyError(*map(str, report.problems))
    return report.policy


def examine(sources: Sequence[Source], around: Surroundings, attached: Attachments) -> Report:
    """Check the texts of a policy, and tell all that was found.

    Args:
        sources: The main file, then those that add to it.
        around: What else the rules go by.
        attached: Gives the content of a file that the policy names; raises OSError.

    Raises:
        PolicyError: A file is not YAML at all, or of another version.
    """
    document = merged(sources)
    check_tree(document)
    try:
        file = document.build(PolicyFile, _PARSERS)
    except PolicyError:
        return Report(None, tuple(document.sorted()), ())
    hashes: dict[str, str] = {}
    lint = Lint(file, document, around, hashes)
    for name, purpose in file.purposes.items():
        sheet = purpose.balancing.file if purpose.balancing is not None else ""
        if sheet:
            content = _content(lint, attached, ("purposes", name, "balancing", "file"), sheet, "E003")
            if content is not None:
                hashes[sheet] = hashlib.sha256(content).hexdigest()
    confidential, sampler = _hidden(lint, attached)
    check_all(lint)
    warnings = tuple(sorted(lint.warnings, key=lambda found: found.place))
    if document.problems:
        return Report(None, tuple(document.sorted()), warnings)
    return Report(_policy(file, confidential, sampler), (), warnings)


def _policy(file: PolicyFile, confidential: ConfidentialNumbers, sampler: Sampler) -> Policy:
    exempt = file.exempt
    numbering = file.numbering
    lines = {
        name: replace(line, match=tuple(pattern.canonical(numbering) for pattern in line.match))
        for name, line in file.lines.items()
    }
    emergency = exempt.emergency if exempt is not None else Emergency()
    help_lines = exempt.helplines if exempt is not None else HelpLines()
    extensions = exempt.extensions if exempt is not None else ()
    return Policy(
        version=version_of(file),
        file=file,
        lines=MappingProxyType(lines),
        extensions=tuple(pattern.canonical(numbering) for pattern in extensions),
        emergency=emergency.dialled(),
        help_lines=help_lines.dialled(),
        confidential=confidential,
        sampler=sampler,
    )


def _hidden(lint: Lint, attached: Attachments) -> tuple[ConfidentialNumbers, Sampler]:
    exempt = lint.file.exempt
    confidential, sampler = ConfidentialNumbers(), Sampler()
    if exempt is not None and exempt.confidential is not None:
        where = ("exempt", "confidential")
        key = _parsed(
            lint, attached, (*where, "key_file"), exempt.confidential.key_file, parse_key, secret=True
        )
        tokens = _parsed(lint, attached, (*where, "file"), exempt.confidential.file, parse_tokens)
        if key is not None and tokens is not None:
            confidential = ConfidentialNumbers(key, tokens)
    if lint.file.sample_key_file:
        drawn = _parsed(
            lint, attached, ("sample_key_file",), lint.file.sample_key_file, parse_key, secret=True
        )
        if drawn is not None:
            sampler = Sampler(drawn)
    return confidential, sampler


def _parsed(
    lint: Lint,
    attached: Attachments,
    key: Key,
    name: str,
    parser: Callable[[str], T],
    *,
    secret: bool = False,
) -> T | None:
    content = _content(lint, attached, key, name, "E001", secret=secret)
    if content is None:
        return None
    try:
        return parser(content.decode("ascii", errors="replace"))
    except ValueError as err:
        lint.error("E001", key, f"{name}: {err}")
        return None


def _content(
    lint: Lint, attached: Attachments, key: Key, name: str, code: str, *, secret: bool = False
) -> bytes | None:
    try:
        return attached(name, secret=secret)
    except OSError as err:
        lint.error(code, key, f"{name} cannot be read: {err.strerror}; mend its place or its rights")
        return None


# Scalars.


def _purpose_name(text: str) -> PurposeName:
    if not _PURPOSE.match(text):
        raise ValueError("is not lower-case letters, digits and underscores")
    return PurposeName(text)


def _name(text: str) -> str:
    if not _NAME.match(text):
        raise ValueError("is not lower-case letters, digits, - and _")
    return text


def _language(text: str) -> Language:
    if not _LANGUAGE.match(text):
        raise ValueError("is not a language tag such as nl or en-GB")
    return Language(text)


def _prefix(text: str) -> NumberPrefix:
    if not _PREFIX.match(text):
        raise ValueError("is not the start of an international number, such as +49")
    return NumberPrefix(text)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as err:
        raise ValueError("is not a date such as 2026-10-01") from err


_PARSERS: Final[Parsers] = {
    timedelta: parse_duration,
    date: _date,
    PurposeName: _purpose_name,
    LineName: _name,
    RoleName: _name,
    KeyGroupName: _name,
    PromptId: _name,
    Language: _language,
    NumberPrefix: _prefix,
    NumberPattern: parse_pattern,
}
