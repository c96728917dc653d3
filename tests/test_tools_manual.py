"""Manual pages and completion: whole, without a warning, and by a real shell."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from recproxy.cli.entry import program

TOOL = Path(__file__).resolve().parents[1] / "tools" / "manual.py"
if not TOOL.exists():
    pytest.skip("runs where the tools are", allow_module_level=True)


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("manual", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MANUAL = _loaded()
TEXTS: dict[str, str] = MANUAL.pages()


def _formatted(path: Path) -> tuple[str, str]:
    """What a reader sees, and what man has to say of the page."""
    done = subprocess.run(
        ["man", "--warnings", "--local-file", "--encoding=utf-8", str(path)],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "200", "MANROFFOPT": "-ww"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.skipif(shutil.which("man") is None, reason="no man here")
@pytest.mark.parametrize("name", MANUAL.PAGES)
def test_a_page_is_formatted_without_a_warning(tmp_path: Path, name: str) -> None:
    MANUAL.main(tmp_path)
    shown, warnings = _formatted(tmp_path / name)
    assert warnings == ""
    for heading in ("NAME", "DESCRIPTION", "SEE ALSO"):
        assert f"\n{heading}\n" in shown
    if name == "recproxy.yaml.5":
        # The example comes out letter for letter: a reader may copy it.
        shipped = (TOOL.parents[1] / "etc" / "recproxy.yaml").read_text().splitlines()
        assert [line.strip() for line in shipped if line.strip()] == [
            line.strip() for line in shown.split("\nEXAMPLE\n")[1].split("\nSEE ALSO\n")[0].splitlines()[1:]
            if line.strip() and "The file as it is shipped" not in line
        ]  # fmt: skip


def test_man_does_warn_of_a_wrong_page(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.1"
    wrong.write_text(TEXTS["recproxy.1"] + "\n.nosuchrequest\n")
    assert _formatted(wrong)[1] != ""


def test_every_command_is_in_the_page() -> None:
    def paths(group: click.Group, path: str) -> list[str]:
        found = []
        for name in group.list_commands(click.Context(group)):
            command = group.get_command(click.Context(group), name)
            assert command is not None
            below = f"{path} {name}"
            found += paths(command, below) if isinstance(command, click.Group) else [below]
        return found

    named = paths(program, "recproxy")
    assert len(named) > 20
    for path in named:
        assert f'.SS "{MANUAL.escaped(path)} ' in TEXTS["recproxy.1"]


def test_a_line_that_looks_like_a_request_is_text() -> None:
    assert MANUAL.escaped(".so x\n'\\\" y") == '\\&.so x\n\\(aq\\e" y'


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("recproxy rec", {"recordings"}),
        ("recproxy recordings ex", {"export"}),
        ("recproxy retention --acc", {"--accept-clock"}),
    ],
)
def test_bash_completes_commands_and_options(tmp_path: Path, line: str, offered: set[str]) -> None:
    """The shipped script in a real bash; what it calls is this program."""
    program_file = tmp_path / "recproxy"
    program_file.write_text(
        f"#!{sys.executable}\nimport sys\nfrom recproxy.__main__ import main\nsys.exit(main())\n"
    )
    program_file.chmod(0o755)
    words = line.split()
    asked = f"""
source {TOOL.parents[1] / "etc" / "recproxy.bash-completion"}
COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}
_recproxy_completion recproxy
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p recproxy
"""
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-euc", asked],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    *found, how = done.stdout.splitlines()
    assert set(found) == offered
    assert how == "complete -o nosort -F _recproxy_completion recproxy"


def test_the_shipped_completion_is_what_click_writes() -> None:
    text = (TOOL.parents[1] / "etc" / "recproxy.bash-completion").read_text()
    assert text == MANUAL.completion()
