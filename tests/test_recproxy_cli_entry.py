"""The tree of commands, the form of an error, and every exit code."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from command_line import recproxy

from recproxy.cli.entry import invoke, program
from recproxy.cli.failures import describe
from recproxy.cli.lazy import LazyGroup
from recproxy.cli.recordings import recordings
from recproxy.cli.subject import subject
from recproxy.errors import RecproxyError
from storage import KeyDestroyed, KeyUnavailable, StoreLocked
from storage.age import NoMatchError

HEAVY = ("sqlalchemy", "pjsua2", "numpy", "rtp", "storage", "av", "rich", "cryptography")


def _tree(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _tree(command, (*path, name))


COMMANDS = dict(_tree(program))


def test_every_command_of_the_first_version_is_there() -> None:
    leaves = {" ".join(path) for path, command in COMMANDS.items() if not isinstance(command, click.Group)}
    assert leaves == {
        "run",
        "retention",
        "upload",
        "recordings rewrap",
        "keys epochs retire",
        "keys epochs destroy",
        "keys epochs make",
        "keys epochs list",
        "doctor",
        "keys generate",
        "keys index",
        "recordings list",
        "recordings show",
        "recordings export",
        "recordings verify",
        "recordings transcript add",
        "recordings transcript show",
        "recordings transcript export",
        "recordings transcript list",
        "recordings transcript remove",
        "recordings promote",
        "recordings request",
        "recordings approve",
        "recordings requests",
        "catalogue rebuild",
        "cdr list",
        "cdr export",
        "hold request",
        "hold approve",
        "hold release",
        "hold list",
        "subject open",
        "subject find",
        "subject export",
        "subject erase",
        "subject rectify",
        "subject restrict",
        "subject object",
        "subject withdraw",
        "subject status",
        "subject statistics",
        "subject extend",
        "subject close",
        *("authority request", "authority review", "authority export", "authority list"),
        "notices statement",
        "notices staff",
        "notices balance",
        "notices register",
        "audit verify",
        *("api token", "api schema"),
        *("policy check", "policy explain", "policy diff"),
        *("policy schema", "policy print", "policy confidential"),
    }


@pytest.mark.parametrize("group", [program, recordings, subject], ids=["recproxy", "recordings", "subject"])
def test_the_list_of_commands_says_what_the_commands_say(group: LazyGroup) -> None:
    context = click.Context(group)
    for name, entry in group.entries.items():
        command = group.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str(limit=200) == entry.help


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_its_options(path: tuple[str, ...]) -> None:
    done = recproxy(*path, "--help")
    assert done.code == 0
    assert done.out.startswith("Usage: recproxy")
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{' '.join(path)} {parameter.name}"


@pytest.mark.parametrize("words", [["--help"], ["frob"], ["--version"], []], ids=str)
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from recproxy.cli.entry import invoke; "
        f"invoke({words!r}); "
        "print([name for name in " + repr(HEAVY) + " if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_read_commands_have_json() -> None:
    reading = ["doctor", "recordings list", "recordings show", "recordings verify", "audit verify"]
    reading += ["hold list", "subject status", "subject open"]
    for name in [*reading, "policy check", "keys generate"]:
        options = {option for one in COMMANDS[tuple(name.split())].params for option in one.opts}
        assert "--json" in options, name


def test_an_error_is_one_line_and_a_hint() -> None:
    done = recproxy("recordings", "frob")
    assert done.code == 2
    assert done.out == ""
    assert done.err.splitlines() == [
        "recproxy: error: no such command 'frob'",
        'recproxy: hint: see "recproxy recordings --help"',
    ]


def test_a_wrong_configuration_is_told_line_by_line(tmp_path: Path) -> None:
    config = tmp_path / "recproxy.yaml"
    config.write_text("version: 1\nsipp: {}\nnoode: x\n")
    done = recproxy("run", "--config", config)
    assert done.code == 78
    lines = done.err.splitlines()
    assert all(line.startswith("recproxy: error: ") for line in lines)
    assert f"recproxy: error: {config}:2: sipp" in lines[0] or any(f"{config}:2:" in line for line in lines)
    assert any(f"{config}:3:" in line for line in lines)


def _failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    module = importlib.import_module("recproxy.cli.policy.checking")

    def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(module, "sources_of", fail)


def _storage_cause(cause: Exception) -> RecproxyError:
    error = RecproxyError("storage: it did not work")
    error.__cause__ = cause
    return error


def _no_match() -> KeyUnavailable:
    error = KeyUnavailable("no identity matched")
    error.__cause__ = NoMatchError("none of them")
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space left on device", "out.wav"), 1),
        (StoreLocked("held"), 11),
        (_storage_cause(StoreLocked("held")), 11),
        (_no_match(), 12),
        (KeyUnavailable("no key"), 20),
        (KeyDestroyed("shredded"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_code_of_an_error(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    _failing(monkeypatch, error)
    done = recproxy("policy", "check", "policy.yaml")
    assert done.code == code
    assert done.err.lstrip().startswith("recproxy: error: ")
    assert "Traceback" not in done.err


def test_an_error_of_the_system_names_the_file() -> None:
    failure = describe(OSError(28, "No space left on device", "out.wav"))
    assert failure is not None
    assert failure.problems == ("out.wav: No space left on device",)


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        invoke(["policy", "check", "policy.yaml"])


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "recproxy", "--help"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == b""


def test_the_process_keeps_its_files_to_itself_and_dumps_no_core(tmp_path: Path) -> None:
    code = (
        "import json, os, resource; from recproxy.__main__ import main; code = main(['--version']); "
        "print(json.dumps([code, os.umask(0), resource.getrlimit(resource.RLIMIT_CORE)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, 0o077, [0, 0]]


def test_a_missing_pjsua2_is_told_with_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = Path(__file__).parents[1] / "etc" / "recproxy.yaml"
    if not config.exists():
        pytest.skip("runs where the shipped configuration is")
    monkeypatch.setitem(sys.modules, "pjsua2", None)
    for name in [name for name in sys.modules if name.startswith(("recproxy.sip", "recproxy.daemon"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("recproxy.daemon", raising=False)
    done = recproxy("run", "--config", config)
    assert done.code == 1
    assert "pjsua2 is not installed" in done.err
    assert "make dev" in done.err
