"""The ``recproxy`` command: its tree, and what becomes of an error.

Commands are imported when they are called, so that ``recproxy --help`` stays
fast and ``recproxy policy check`` needs neither pjsua2 nor the RTP engine.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from typing import Final

import click

from recproxy.cli.failures import FAILED, Failure, describe
from recproxy.cli.lazy import Entry, LazyGroup

__all__ = ["invoke", "main", "program"]

_DOCTOR_HELP: Final = "Check everything that recproxy needs to run; changes nothing."

program = LazyGroup(
    "recproxy",
    help="SIP recording proxy: calls are announced, recorded, encrypted, and shredded on time.",
    epilog=(
        "Exit codes: 0 done, 1 failed, 2 usage, 3 partly done, 10 no catalogue, 11 already running, "
        "12 no matching identity, 20 verification failed, 78 bad configuration, 130 interrupted. "
        "Take any other as a failure."
    ),
    entries={
        "run": Entry("recproxy.cli.run", "run", "Run the recording proxy until SIGTERM."),
        "retention": Entry(
            "recproxy.cli.retention", "retention", "Shred recordings when they expire, until SIGTERM."
        ),
        "upload": Entry(
            "recproxy.cli.upload", "upload", "Move sealed bodies into the object store, until SIGTERM."
        ),
        "doctor": Entry("recproxy.cli.doctor", "doctor", _DOCTOR_HELP),
        "keys": Entry("recproxy.cli.keys", "keys", "Make the keys that a configuration needs."),
        "recordings": Entry(
            "recproxy.cli.recordings", "recordings", "List, show, export and verify recordings."
        ),
        "hold": Entry(
            "recproxy.cli.holds", "hold", "Keep recordings beyond their expiry, as two people want it."
        ),
        "subject": Entry(
            "recproxy.cli.subject", "subject", "Answer people who ask what is recorded of them."
        ),
        "authority": Entry(
            "recproxy.cli.authority",
            "authority",
            "Hand recordings over to an authority, on an order that a second person has reviewed.",
        ),
        "notices": Entry(
            "recproxy.cli.notices",
            "notices",
            "Write what the law wants written, from the policy.",
        ),
        "api": Entry("recproxy.cli.http", "api", "Let people and programs use the HTTP API."),
        "audit": Entry("recproxy.cli.audit", "audit", "Check the audit chain."),
        "catalogue": Entry(
            "recproxy.cli.catalogue", "catalogue", "Make a lost catalogue again from the audit chain."
        ),
        "cdr": Entry(
            "recproxy.cli.cdr", "cdr", "Read call detail records: one for each call, answered or not."
        ),
        "policy": Entry("recproxy.cli.policy", "policy", "Check, explain and compare policies."),
    },
)
program = click.version_option(package_name="recproxy", message="%(package)s %(version)s")(program)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command as its own process.

    Args:
        arguments: The words after ``recproxy``; None for those of the process.

    Returns:
        Its exit code.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return invoke(sys.argv[1:] if arguments is None else arguments)


def invoke(arguments: Sequence[str]) -> int:
    """Run one command; tell an error on standard error.

    Args:
        arguments: The words after ``recproxy``.

    Returns:
        Its exit code.
    """
    try:
        code = program.main(list(arguments), prog_name="recproxy", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except click.exceptions.Exit as err:
        return err.exit_code
    except Exception as err:
        failure = describe(err)
        if failure is None:
            raise
        _tell(failure)
        return failure.exit_code
    return code if isinstance(code, int) else 0


def _tell(failure: Failure) -> None:
    for line in failure.problems:
        click.echo(f"recproxy: error: {line}", err=True)
    if failure.hint:
        click.echo(f"recproxy: hint: {failure.hint}", err=True)
