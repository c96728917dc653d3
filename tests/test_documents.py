"""The documents say what the code does: commands, options, keys, defaults, files, exit codes."""

from __future__ import annotations

import re
import shlex
import subprocess
import types
import typing
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from recorded import Take, make_shelf, record

from recproxy import errors
from recproxy.cli.entry import program
from recproxy.config import Config, parse_duration
from recproxy.logevents import EVENTS
from recproxy.policy import PolicyFile

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"]
DOCUMENTS += sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))
DOCUMENTS += [
    "storage/FORMAT.md",
    "storage/THREATS.md",
    "rtp/RELAY.md",
    "tools/pjsua2/README.md",
    "bench/README.md",
]
if not (ROOT / "README.md").exists():
    pytest.skip("runs where the documents are", allow_module_level=True)


def _text(name: str) -> str:
    return (ROOT / name).read_text()


# ----------------------------------------------------------------- commands
def _commands(text: str) -> Iterator[str]:
    """Every command line of recproxy in code, shown or quoted."""
    for line in text.splitlines():
        shown = re.match(r"    [$#] (.*)", line)
        for code in [shown[1]] if shown else re.findall(r"`([^`]+)`", line):
            found = re.search(r"(?:^|sudo -u recproxy )(recproxy (?!run`|number index )[a-z].*)", code)
            if found:
                yield re.split(r" +#| [<>|] ", found[1])[0]


QUOTED = [(name, command) for name in DOCUMENTS for command in dict.fromkeys(_commands(_text(name)))]


def _alternatives(command: str) -> Iterator[str]:
    """``recordings list|show`` names two commands."""
    choice = re.search(r"\S+\|\S+", command)
    if choice is None:
        yield command
        return
    for word in choice[0].split("|"):
        yield command.replace(choice[0], word)


@pytest.mark.parametrize(("name", "command"), QUOTED)
def test_every_command_that_is_named_exists(name: str, command: str) -> None:
    for one in _alternatives(command):
        words = shlex.split(one)[1:]
        group: click.Command = program
        while isinstance(group, click.Group) and words and not words[0].startswith("-"):
            found = group.get_command(click.Context(group), words.pop(0))
            assert found is not None, one
            group = found
        options = {option: parameter for parameter in group.params for option in parameter.opts}
        for word in words:
            if word.startswith("-") and word != "-" and group is not program:
                assert word in options, f"{name}: {one}: {word}"


def test_commands_are_found_at_all() -> None:
    assert len(QUOTED) > 15
    assert ("README.md", "recproxy keys generate --out /etc/recproxy") in QUOTED


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", _text("Makefile"), flags=re.MULTILINE))
    for name in DOCUMENTS:
        for target in re.findall(r"(?:\$ |`)make ([a-z-]+)", _text(name)):
            assert target in targets, f"{name}: make {target}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", _text(name)):
        if "://" not in target:
            assert ((ROOT / name).parent / target).exists(), f"{name}: {target}"


def test_the_index_of_the_documents_is_complete() -> None:
    index = _text("docs/README.md")
    pages = [page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"]
    specifications = ["../storage/THREATS.md", "../storage/FORMAT.md", "../rtp/RELAY.md"]
    for page in [*pages, *specifications]:
        assert f"]({page})" in index, page


def test_every_test_that_is_named_exists() -> None:
    for name in DOCUMENTS:
        for path in re.findall(r"tests/test_[a-z_]+\.py", _text(name)):
            assert (ROOT / path).exists(), f"{name}: {path}"


LAW_ROWS = re.findall(
    r"^\| (\d+) \|.*\| `([a-z_0-9]+)::(test_[a-z_0-9]+)` \|$", _text("docs/law.md"), re.MULTILINE
)


def test_every_statement_of_the_white_paper_has_a_row() -> None:
    assert [int(number) for number, _, _ in LAW_ROWS] == list(range(1, 37))


@pytest.mark.parametrize(
    ("file", "name"), sorted(set(re.findall(r"`([a-z_0-9]+)::(test_[a-z_0-9]+)`", _text("docs/law.md"))))
)
def test_the_test_that_shows_what_the_law_wants_exists(file: str, name: str) -> None:
    assert re.search(rf"^def {name}\(", _text(f"tests/test_{file}.py"), re.MULTILINE)


def test_exit_codes_in_the_readme_are_those_of_the_code() -> None:
    named = {int(code) for code in re.findall(r"\b(\d+) [a-z ]+[·.]", _text("README.md").replace("\n", " "))}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = {kind.exit_code for kind in kinds if issubclass(kind, errors.RecproxyError)}
    assert ours | {0, 130} <= named
    assert re.search(r"0 done · 1 failed · 2 usage", _text("README.md"))


def test_events_in_the_documents_are_declared() -> None:
    watched = _text("docs/operate.md").split("## Events to watch")[1].split("\n## ")[0]
    alarms = next(line for line in _text("SECURITY.md").splitlines() if line.startswith("- Alarm on"))
    shown = next(line for line in _text("docs/install.md").splitlines() if "`call.offered`" in line)
    named = [event for part in (watched, alarms, shown) for event in re.findall(r"`([a-z]+\.[a-z_]+)`", part)]
    assert len(named) > 10
    assert set(named) <= set(EVENTS)


@pytest.mark.interop
def test_the_commands_of_the_readme_open_a_recording_with_stock_age(tmp_path: Path) -> None:
    """A made store has the layout of the demo's."""
    shelf, take = make_shelf(tmp_path / "rig"), Take(1)
    record(shelf, take)
    shown = re.findall(r"^    \$ (id=.*|cat .*)$", _text("README.md"), flags=re.MULTILINE)
    assert len(shown) == 2
    subprocess.run(["sh", "-euc", "\n".join(shown)], cwd=shelf.root, check=True)
    assert (shelf.root / "call.wav").read_bytes().endswith(take.audio)


# ------------------------------------------------------------- configuration
REQUIRED = "–"
NAMED = {"PurposeName": "id", "Language": "language", "NumberPrefix": "prefix"}
SCALARS = {"PortRange", "SipTarget", "NumberPattern"}  # written as one text


def _reference(heading: str) -> dict[str, str]:
    """Key and default of each row of a table of docs/operate.md."""
    part = _text("docs/operate.md").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", part, flags=re.MULTILINE)
    return {key: default.strip().strip("`") for key, default in rows}


def _keys(kind: Any, path: str, default: Any = msgspec.NODEFAULT) -> Iterator[tuple[str, str]]:
    """Key and default of every scalar in a type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        yield from _keys(inner[0], path, default)
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__name__ not in SCALARS:
        for field in msgspec.structs.fields(kind):
            yield from _keys(field.type, f"{path}.{field.name}".lstrip("."), _default(field))
    elif origin is tuple:
        yield from _keys(inner[0], f"{path}[]", default)
    elif origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        name = NAMED.get(inner[0].__name__, "name")
        yield from _keys(inner[1], f"{path}.<{name}>", default)
    elif origin in {types.UnionType, typing.Union} and type(None) in inner:
        yield from _keys(next(one for one in inner if one is not type(None)), path, default)
    else:
        yield path, _shown(default)


def _default(field: Any) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return msgspec.NODEFAULT if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _shown(default: Any) -> str:
    match default:
        case msgspec.NODEFAULT:
            return REQUIRED
        case None | "" | () | {}:
            return "none"
        case bool():
            return str(default).lower()
        case Enum():
            return str(default.value)
        case timedelta():
            return str(default.total_seconds())
        case tuple():
            return "all"
        case _:
            return str(default)


def _comparable(default: str) -> str:
    try:
        return str(parse_duration(default).total_seconds())
    except ValueError:
        return default


@pytest.mark.parametrize(("heading", "kind"), [("recproxy.yaml", Config), ("policy.yaml", PolicyFile)])
def test_the_reference_has_every_key_with_its_default(heading: str, kind: type) -> None:
    reference = {key: _comparable(default) for key, default in _reference(heading).items()}
    assert reference == dict(_keys(kind, ""))


def test_keys_without_default_are_in_the_readme() -> None:
    table = _text("README.md").split("## Configure")[1]
    named = re.findall(r"^\| `([a-z_.]+)` \|", table, flags=re.MULTILINE)
    required = {
        key.partition("[]")[0].partition(".<")[0]
        for key, default in _reference("recproxy.yaml").items()
        if default == REQUIRED and not key.startswith("storage.bucket.")  # only for who has one
    }
    assert set(named) == required


# --------------------------------------------------------------------- units
@pytest.mark.parametrize(
    "unit", ["etc/recproxy.service", "etc/recproxy-retention.service", "etc/recproxy-upload.service"]
)
def test_units_run_commands_that_exist(unit: str) -> None:
    text = _text(unit)
    words = re.findall(r"^ExecStart=/opt/recproxy/bin/recproxy (.*)$", text, flags=re.MULTILINE)
    assert len(words) == 1
    name, option, path = words[0].split()
    assert program.get_command(click.Context(program), name) is not None
    assert (option, path) == ("--config", "/etc/recproxy/recproxy.yaml")
    for setting in ("UMask=0077", "LimitCORE=0", "NoNewPrivileges=yes", "ProtectSystem=strict"):
        assert f"\n{setting}\n" in text
