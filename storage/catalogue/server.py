"""The way to a PostgreSQL server: nobody waits there for longer than he can.

A server may be gone, or be there and say nothing: frozen, or its disk stands still. The kernel
of its machine answers all the same, so no time limit of TCP or of the server itself ends such a
wait; the limit of ``Patient`` does. From then on the ``Door`` is shut: whoever asks is told so at
once, until a thread that waits for nothing else has had an answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from psycopg.abc import PQGen

__all__ = ["Door", "Patient", "at_leisure"]

_RV = TypeVar("_RV")
_INTERVAL_S: Final = 0.1
_SERVER_FIRST_S: Final = 0.5
"""Its own limits end what is only slow; who waits longer than that much beyond them waits for nothing."""
_LOOK_AGAIN_S: Final = 1.0
_AT_LEISURE_S: Final = 600.0


class Patient(psycopg.Connection[Any]):
    """A connection that is closed when the server has not answered for too long.

    Attributes:
        answer_s: How long an answer may take.
        silent: Told when it took longer.
    """

    answer_s: float = _AT_LEISURE_S
    silent: Callable[[str], None] = staticmethod(lambda _why: None)

    def wait(self, gen: PQGen[_RV], interval: float = _INTERVAL_S, timeout: float | None = None) -> _RV:
        """Wait for an answer.

        Raises:
            OperationalError: There is none in time; the connection is closed. What was asked may be
                done yet, if the server comes to itself: nobody knows.
        """
        limit = self.answer_s + _SERVER_FIRST_S if timeout is None else timeout
        began = time.monotonic()
        try:
            return super().wait(gen, interval, limit)
        except psycopg.OperationalError as err:
            if timeout is not None or time.monotonic() - began < limit:
                raise
            self.close()
            why = f"the server has not answered for {limit:g} s"
            self.silent(why)
            raise psycopg.OperationalError(why) from err


class Door:
    """Shut while the server does not answer; safe from several threads.

    Args:
        answer_s: How long an answer may take.
    """

    def __init__(self, answer_s: float) -> None:
        self._answer_s = answer_s
        self._lock = threading.Lock()
        self._why: str | None = None
        self._looker: threading.Thread | None = None
        self._over = threading.Event()

    def guard(self, engine: sa.Engine) -> None:
        """Let all connections of an engine go through here; its disposal ends the looking."""
        self._engine = engine
        sa.event.listen(engine, "do_connect", self._connect)
        sa.event.listen(engine, "checkin", self._hurry)
        sa.event.listen(engine, "engine_disposed", self._end)

    @property
    def fault(self) -> str | None:
        """Why nobody may pass; None if it is open."""
        return self._why

    def shut(self, why: str) -> None:
        """Let nobody pass until the server has answered."""
        with self._lock:
            self._why = why
            if self._looker is None:
                self._over = threading.Event()
                self._looker = threading.Thread(
                    target=self._look, args=(self._over,), name="catalogue", daemon=True
                )
                self._looker.start()

    def _connect(
        self, _dialect: sa.Dialect, _record: object, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> Patient:
        """Connect, or say at once that nobody answers."""
        why = self._why
        if why is not None and threading.current_thread() is not self._looker:
            raise psycopg.OperationalError(f"the server was not reached just now: {why}")
        try:
            made = Patient.connect(*arguments, **options)
        except psycopg.OperationalError as err:
            self.shut(str(err))
            raise
        made.answer_s = self._answer_s
        made.silent = self.shut
        return made

    def _hurry(self, connection: Patient | None, _record: object) -> None:
        """Who had the connection may have had time (``at_leisure``); the next one has not."""
        if connection is not None:
            connection.answer_s = self._answer_s

    def _look(self, over: threading.Event) -> None:
        while not over.wait(_LOOK_AGAIN_S):
            try:
                with self._engine.connect() as connection:
                    connection.execute(sa.text("SELECT 1"))
            except SQLAlchemyError:
                continue
            break
        with self._lock:
            if self._over is over:
                self._why = self._looker = None

    def _end(self, _engine: sa.Engine) -> None:
        with self._lock:
            self._over.set()
            self._over = threading.Event()
            self._why = self._looker = None


def at_leisure(connection: sa.Connection) -> None:
    """Take the time that it takes, until the transaction ends: tables are made, or changed.

    Args:
        connection: In a transaction.
    """
    connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
    patient = connection.connection.dbapi_connection
    if isinstance(patient, Patient):
        patient.answer_s = _AT_LEISURE_S
