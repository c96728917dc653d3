"""What commands share that go round until a signal ends them: waiting, reloading, and the end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, Protocol

import click

from recproxy.config import parse_duration

__all__ = ["ENDS", "Wait", "exit_code", "read_interval", "serve", "signals_blocked", "wait_for_signal"]

ENDS: Final = (signal.SIGTERM, signal.SIGINT)
_SIGNALS: Final = (*ENDS, signal.SIGHUP)
_INTERRUPTED: Final = 130
_PIECE_S: Final = 60.0  # WatchdogSec= of the units is five times this


class Wait(Protocol):
    """Waits for a signal to end."""

    def __call__(self, seconds: float) -> int | None:
        """Wait so long; returns the signal that came, or None."""


def _nothing() -> None:
    """No watchdog, and nothing to read again."""


def serve(
    go: Callable[[Callable[[], bool]], object],
    wait: Wait,
    interval_s: float,
    alive: Callable[[], None] = _nothing,
    reload: Callable[[], None] = _nothing,
) -> int:
    """Go round now and then until a signal ends it; SIGHUP reads again and goes round at once.

    Args:
        go: One round. It asks what it is given between its steps, and stops where that is true.
        wait: Waits.
        interval_s: Seconds between the end of a round and the next.
        alive: Called between the steps and at least every minute of a wait.
        reload: Called on SIGHUP.

    Returns:
        The signal that ended it.
    """
    ended: list[int] = []

    def stopping() -> bool:
        alive()
        came = wait(0)
        if came == signal.SIGHUP:
            reload()
        elif came is not None:
            ended.append(came)
        return bool(ended)

    while True:
        go(stopping)
        came = ended[0] if ended else _wait(wait, interval_s, alive)
        if came == signal.SIGHUP:
            reload()
        elif came is not None:
            return came


def _wait(wait: Wait, seconds: float, alive: Callable[[], None]) -> int | None:
    """Wait in pieces, so that a long pause is no silence."""
    while seconds > 0:
        alive()
        piece = min(seconds, _PIECE_S)
        came = wait(piece)
        if came is not None:
            return came
        seconds -= piece
    return None


def exit_code(ended_by: int) -> int:
    """The exit code after a signal: 0 for who was told to stop."""
    return 0 if ended_by == signal.SIGTERM else _INTERRUPTED


def wait_for_signal(seconds: float) -> int | None:
    """Wait for SIGTERM, SIGINT or SIGHUP, which are blocked and so cannot break into a round."""
    came = signal.sigtimedwait(_SIGNALS, seconds)
    return None if came is None else came.si_signo


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Keep SIGTERM, SIGINT and SIGHUP waiting until they are asked for: no round is cut short."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def read_interval(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    """Read ``--interval``. None if it was not given.

    Raises:
        click.BadParameter: It is no duration, or not from a second to an hour.
    """
    if value is None:
        return None
    try:
        found = parse_duration(value)
    except ValueError as err:
        raise click.BadParameter(f"{value!r} {err}", ctx, param) from err
    if not timedelta(seconds=1) <= found <= timedelta(hours=1):
        raise click.BadParameter(f"{value!r} is not from PT1S to PT1H", ctx, param)
    return found
