"""Write the manual pages, recproxy(1), recproxy.yaml(5), recproxy-policy(5), or the completion for bash.

They are made of what the program itself says: its tree of commands, the reference tables of
docs/operate.md (which a test holds against the types), and the shipped files.

    tools/manual.py DIRECTORY
    tools/manual.py --completion > etc/recproxy.bash-completion
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click
from click.shell_completion import BashComplete

from recproxy.cli.entry import program

__all__ = ["PAGES", "completion", "escaped", "main", "pages"]

_ROOT: Final = Path(__file__).resolve().parents[1]
_SEE: Final = {
    "recproxy.1": "recproxy.yaml(5), recproxy-policy(5), systemd.service(5), age(1)",
    "recproxy.yaml.5": "recproxy(1), recproxy-policy(5)",
    "recproxy-policy.5": "recproxy(1), recproxy.yaml(5)",
}
PAGES: Final = tuple(_SEE)
"""Names of the pages."""
_FILES: Final = (
    ("/etc/recproxy/recproxy.yaml", "how it is wired; recproxy.yaml(5)"),
    ("/etc/recproxy/policy.yaml", "what may be recorded; recproxy-policy(5)"),
    ("/var/lib/recproxy", "recordings, keys, catalogue and audit chain"),
    ("/usr/share/doc/recproxy", "documents: installing, operating, keys, law, formats, threats"),
)


def escaped(text: str) -> str:
    """A text that roff takes as it is (groff_char(7)): no request, no escape, hyphens that copy well."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti")
    return "\n".join(f"\\&{line}" if line.startswith(".") else line for line in text.splitlines())


def _plain(text: str) -> str:
    """A cell or paragraph of Markdown without its marks."""
    return (
        re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
        .replace("`", "")
        .replace("*", "")
        .replace("\\|", "|")
        .strip()
    )


def _head(name: str, section: int, brief: str) -> Iterator[str]:
    # Without a date: the same sources give the same page.
    yield f'.TH {name.upper()} {section} "" "recproxy {version("recproxy")}" "recproxy"'
    yield ".nh"
    yield ".ad l"
    yield ".SH NAME"
    yield f"{escaped(name)} \\- {escaped(brief)}"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        yield ".PP"
        yield escaped(" ".join(paragraph.replace("\b", "").split()))


def _leaves(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Each command that does something, depth first."""
    if not isinstance(command, click.Group):
        yield command, context
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        if found is not None:
            yield from _leaves(found, click.Context(found, info_name=name, parent=context))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f'.SS "{escaped(context.command_path)} {escaped(usage)}"'
    yield from _paragraphs(command.help or "")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and parameter.name != "help":
            yield ".TP"
            yield f"\\fB{escaped(record[0])}\\fR"
            yield escaped(" ".join(record[1].split()))


def _commands() -> Iterator[str]:
    context = click.Context(program, info_name="recproxy")
    yield from _head("recproxy", 1, "SIP recording proxy")
    yield ".SH SYNOPSIS"
    yield ".B recproxy"
    yield "COMMAND [ARGUMENT]..."
    yield ".SH DESCRIPTION"
    yield from _paragraphs(program.help or "")
    yield ".SH COMMANDS"
    for command, where in _leaves(program, context):
        yield from _command(command, where)
    yield ".SH EXIT STATUS"
    yield from _paragraphs(program.epilog or "")
    yield ".SH FILES"
    for path, what in _FILES:
        yield from (".TP", f"\\fI{escaped(path)}\\fR", escaped(what))


def _file(name: str, heading: str, brief: str) -> Iterator[str]:
    yield from _head(name, 5, brief)
    text = (_ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    part = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    prose = part.partition("\n|")[0]
    yield ".SH DESCRIPTION"
    yield from _paragraphs(_plain(prose))
    yield ".SH KEYS"
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ((?:\\\||[^|])+) \|$", part, flags=re.MULTILINE)
    for key, default, what in rows:
        yield from (
            ".TP",
            f"\\fB{escaped(key)}\\fR (default: {escaped(_plain(default))})",
            escaped(_plain(what)),
        )
    yield ".SH EXAMPLE"
    yield from _paragraphs("The file as it is shipped:")
    yield from (".PP", ".nf", escaped((_ROOT / "etc" / heading).read_text(encoding="utf-8")), ".fi")


def pages() -> dict[str, str]:
    """Text of every page by its name."""
    made = {
        "recproxy.1": _commands(),
        "recproxy.yaml.5": _file("recproxy.yaml", "recproxy.yaml", "how recproxy is wired"),
        "recproxy-policy.5": _file("recproxy-policy", "policy.yaml", "what recproxy may record, and why"),
    }
    return {
        name: "\n".join([*lines, ".SH SEE ALSO", escaped(_SEE[name]), ""]) for name, lines in made.items()
    }


def completion() -> str:
    """The script that bash sources; it asks the program itself."""
    asking = BashComplete(program, {}, "recproxy", "_RECPROXY_COMPLETE")
    # source() would ask the bash of this machine for its version; Debian's is new enough.
    script = asking.source_template % asking.source_vars()
    return "# Completion of recproxy for bash; made by tools/manual.py.\n" + script.strip() + "\n"


def main(directory: Path) -> None:
    """Write every page to ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DIRECTORY|--completion")
    if sys.argv[1] == "--completion":
        sys.stdout.write(completion())
    else:
        main(Path(sys.argv[1]))
