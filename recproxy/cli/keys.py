"""``recproxy keys``: the keys that a configuration needs."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from recproxy.cli.display import Json, print_json, tick
from recproxy.cli.keyepochs import epochs
from recproxy.cli.options import json_option
from recproxy.errors import RecproxyError, UsageError
from storage import OsFiles, generate_root_key, generate_signing_key
from storage.age import AgeError, X25519Identity, parse_recipients

__all__ = ["keys"]

IDENTITY: Final = "identity.txt"
RECIPIENTS: Final = "recipients.txt"
AUDIT: Final = "audit"
INDEX: Final = "index.key"


@dataclass(frozen=True, slots=True)
class _Made:
    """One file, and what to do with it."""

    path: Path
    what: str
    secret: bool
    move: str = ""


@click.group("keys", no_args_is_help=False)
def keys() -> None:
    """Make the keys that a configuration needs."""


keys.add_command(epochs)


@keys.command("generate")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory for the key files; made if missing.",
)
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    metavar="AGE1…",
    help="Use this recipient, made elsewhere, instead of a new identity. May be repeated.",
)
@json_option
def generate(out: Path, recipients: tuple[str, ...], as_json: bool) -> None:
    """Make an age identity, the recipients file, the audit key and the index key.

    Nothing is ever overwritten. With --recipient no identity is made: then the
    key that opens recordings has never been on this machine.
    """
    _check(recipients)
    files = _directory(out)
    wanted = [RECIPIENTS, f"{AUDIT}.key", f"{AUDIT}.pub", INDEX, *(() if recipients else (IDENTITY,))]
    _refuse_present(files, out, wanted)
    made = _given(files, out, recipients) if recipients else _new_identity(files, out)
    made += _audit_key(files, out)
    made.append(_index_key(files, out))
    _tell(made, as_json=as_json)


@keys.command("index")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Directory for index.key; made if missing."
)
@json_option
def index(out: Path, as_json: bool) -> None:
    """Make the index key alone, for a configuration that has none yet.

    Recordings made before it are not found by number.
    """
    files = _directory(out)
    _refuse_present(files, out, [INDEX])
    _tell([_index_key(files, out)], as_json=as_json)


def _refuse_present(files: OsFiles, out: Path, wanted: Sequence[str]) -> None:
    present = [name for name in wanted if files.size(name) is not None]
    if present:
        raise RecproxyError(
            f"{out / present[0]} exists; nothing was overwritten",
            hint="keys that are lost lose recordings: move them away yourself, or use another directory",
        )


def _tell(made: Sequence[_Made], *, as_json: bool) -> None:
    if as_json:
        print_json([_entry(one) for one in made])
        return
    for one in made:
        tick(True, f"{one.path}  {one.what}")
    for one in made:
        if one.move:
            tick(False, f"{one.path}: {one.move}", warn=True)


def _check(recipients: Sequence[str]) -> None:
    for recipient in recipients:
        try:
            parse_recipients(recipient, "--recipient")
        except AgeError as err:
            raise UsageError(str(err), hint='give what "age-keygen -y identity.txt" prints') from err


def _directory(out: Path) -> OsFiles:
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as err:
        raise UsageError(f"{out}: is not a directory") from err
    return OsFiles(out)


def _given(files: OsFiles, out: Path, recipients: Sequence[str]) -> list[_Made]:
    _write(files, RECIPIENTS, "".join(f"{recipient.strip()}\n" for recipient in recipients))
    count = len(recipients)
    return [_Made(out / RECIPIENTS, f"{count} recipient{'s' if count > 1 else ''}, as given", secret=False)]


def _new_identity(files: OsFiles, out: Path) -> list[_Made]:
    identity = X25519Identity.generate(secrets.token_bytes)
    recipient = str(identity.recipient)
    _write(files, IDENTITY, f"# public key: {recipient}\n{identity.secret_text()}\n")
    _write(files, RECIPIENTS, f"{recipient}\n")
    return [
        _Made(
            out / IDENTITY,
            "opens every recording",
            secret=True,
            move="move it off this machine, and keep a second copy: without it no recording can be opened",
        ),
        _Made(out / RECIPIENTS, f"recipient {recipient}", secret=False),
    ]


def _audit_key(files: OsFiles, out: Path) -> list[_Made]:
    pair = generate_signing_key(files, AUDIT)
    return [
        _Made(out / pair.private, "signs the audit chain; stays here", secret=True),
        _Made(
            out / pair.public,
            "verifies the audit chain",
            secret=False,
            move="copy it to whoever audits this machine",
        ),
    ]


def _index_key(files: OsFiles, out: Path) -> _Made:
    generate_root_key(files, INDEX)
    return _Made(out / INDEX, "finds the recordings of a number; stays here", secret=True)


def _write(files: OsFiles, name: str, text: str) -> None:
    handle = files.create(name)
    try:
        handle.write(text.encode())
        handle.sync()
    finally:
        handle.close()
    files.sync_directory(".")


def _entry(one: _Made) -> Json:
    return {"path": str(one.path), "what": one.what, "secret": one.secret, "move": one.move}
