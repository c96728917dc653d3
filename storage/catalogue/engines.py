"""Engines of the catalogue: SQLite in the data directory, or a PostgreSQL server that several nodes share.

On SQLite every transaction that changes something holds the one write lock from its
start, so what it has read still holds when it writes. On PostgreSQL transactions run
side by side (READ COMMITTED: each statement sees what was committed before it). There
the row of a recording is the lock on all that is decided about that recording:
``lock_rows`` comes first, then what is read is current until the commit.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage.catalogue.schema import RECORDINGS
from storage.errors import CatalogueError

if TYPE_CHECKING:  # the driver is there only where it is used
    import psycopg

    from storage.catalogue.server import Door

__all__ = [
    "ANSWER_SECONDS",
    "fault_of",
    "is_shared",
    "lock_rows",
    "lock_schema",
    "one_instant",
    "open_engine",
    "postgresql_engine",
    "sqlite_engine",
    "sqlite_url",
]

ANSWER_SECONDS: Final = 60.0
"""How long whoever has time waits for an answer of a server; who records has not."""
_BUSY_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = (2, 10)  # libpq wants two at least
_LOCK_SECONDS: Final = 3.0
_DOOR: Final = "recproxy_door"
_SCHEMA_LOCK: Final = 0x7265_6370_726F_7879  # "recproxy", for pg_advisory_xact_lock(bigint)
_POSTGRESQL_SETTINGS: Final = {
    "synchronous_commit": "on",  # a commit is on the disk when it returns, whatever the server's default
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "60s",
}


def sqlite_url(path: str) -> str:
    """SQLAlchemy URL of a SQLite file.

    Args:
        path: Absolute path of the file.

    Returns:
        The URL.
    """
    return f"sqlite:///{path}"


def open_engine(url: str, password: str = "", answer_s: float = ANSWER_SECONDS) -> sa.Engine:
    """Make the engine that a URL asks for.

    Args:
        url: SQLAlchemy URL, ``sqlite`` or ``postgresql+psycopg``.
        password: Of the role at the PostgreSQL server; empty if the server asks for none.
        answer_s: How long an answer of the server may take, in seconds.

    Raises:
        CatalogueError: It is for another database, or its driver is not installed.
    """
    backend = sa.make_url(url).get_backend_name()
    if backend == "sqlite":
        return sqlite_engine(url)
    if backend == "postgresql":
        return postgresql_engine(url, password, answer_s)
    raise CatalogueError(f"the catalogue can be in SQLite or PostgreSQL, not in {backend}")


def sqlite_engine(url: str, **options: Any) -> sa.Engine:  # noqa: ANN401  -- handed to SQLAlchemy as it is
    """Make an engine with the settings that durability and erasure need.

    Args:
        url: SQLAlchemy URL of a SQLite file.
        **options: Passed on to ``sqlalchemy.create_engine``.

    Returns:
        The engine: write-ahead journal, every commit synced, deleted content
        overwritten, transactions that take the write lock at once.
    """
    engine = sa.create_engine(url, **options)
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def postgresql_engine(url: str, password: str = "", answer_s: float = ANSWER_SECONDS) -> sa.Engine:
    """Make an engine whose commits are on the server's disk when they return.

    A connection that the server closed meanwhile is replaced before it is used. A statement that
    takes too long is ended by the server; a server that does not even do that is not asked again
    until it has answered somebody who only waits for that (``storage.catalogue.server``).

    Args:
        url: SQLAlchemy URL, ``postgresql+psycopg``.
        password: Of the role; never part of a message.
        answer_s: How long an answer may take, in seconds.

    Raises:
        CatalogueError: psycopg is not installed.
    """
    address = sa.make_url(url)
    if password:
        address = address.set(password=password)
    least, most = _CONNECT_SECONDS
    try:
        from storage.catalogue.server import Door  # noqa: PLC0415 - psycopg is there only where it is used

        door = Door(answer_s)
        engine = sa.create_engine(
            address,
            pool_pre_ping=True,
            hide_parameters=True,
            execution_options={_DOOR: door},
            connect_args={
                "connect_timeout": max(least, min(most, math.ceil(answer_s))),
                "tcp_user_timeout": int(min(answer_s, most) * 1000) + 1000,
                "application_name": "recproxy",
            },
        )
    except ImportError as err:
        raise CatalogueError(
            "a catalogue in PostgreSQL needs psycopg: install recproxy with its extra postgresql"
        ) from err
    door.guard(engine)
    sa.event.listen(engine, "connect", partial(_set_up_postgresql, answer_s))
    return engine


def fault_of(engine: sa.Engine) -> str | None:
    """Why a server cannot be asked now; None if it can, or if it is a file."""
    door: Door | None = engine.get_execution_options().get(_DOOR)
    return None if door is None else door.fault


def is_shared(engine: sa.Engine) -> bool:
    """Whether other nodes may use the same catalogue."""
    return engine.dialect.name != "sqlite"


def lock_schema(connection: sa.Connection) -> None:
    """Let one process at a time make or change tables, until the transaction ends; that may take long."""
    if connection.dialect.name == "postgresql":
        from storage.catalogue.server import at_leisure  # noqa: PLC0415 - psycopg is there only where it is used

        at_leisure(connection)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.literal(_SCHEMA_LOCK, sa.BigInteger))))


def lock_rows(connection: sa.Connection, recordings: Collection[str]) -> None:
    """Let nobody else decide about these recordings until the transaction ends.

    Always in the order of their ids, so that two who want the same ones cannot wait for each other.

    Args:
        connection: In a transaction.
        recordings: Ids; those without a row do no harm.
    """
    if connection.dialect.name != "sqlite":
        wanted = sa.select(RECORDINGS.c.id).where(RECORDINGS.c.id.in_(sorted(recordings)))
        connection.execute(wanted.order_by(RECORDINGS.c.id).with_for_update()).all()


@contextmanager
def one_instant(connection: sa.Connection) -> Iterator[None]:
    """Let all that is read see the catalogue at one instant; the connection commits by itself."""
    begin = (
        "BEGIN" if connection.dialect.name == "sqlite" else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    )
    connection.exec_driver_sql(begin)
    try:
        yield
    finally:
        connection.exec_driver_sql("COMMIT")


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite alone
    connection.execute(f"PRAGMA busy_timeout={int(_BUSY_SECONDS * 1000)}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _set_up_postgresql(answer_s: float, connection: psycopg.Connection[Any], _record: object) -> None:
    limits = {
        "statement_timeout": f"{answer_s * 1000:.0f}ms",
        "lock_timeout": f"{min(answer_s, _LOCK_SECONDS) * 1000:.0f}ms",
    }
    connection.autocommit = True
    with connection.cursor() as cursor:
        for name, value in (_POSTGRESQL_SETTINGS | limits).items():
            cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
    connection.autocommit = False
