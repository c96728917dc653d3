"""Engines of the catalogue: SQLite in the data directory, or a PostgreSQL server that several nodes share.

On SQLite every transaction that changes something holds the one write lock from its
start, so what it has read still holds when it writes. On PostgreSQL transactions run
side by side (READ COMMITTED: each statement sees what was committed before it). There
the row of a recording is the lock on all that is decided about that recording:
``lock_rows`` comes first, then what is read is current until the commit.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from storage.catalogue.schema import RECORDINGS
from storage.errors import CatalogueError

if TYPE_CHECKING:  # the driver is there only where it is used
    import psycopg
    from sqlalchemy.engine.interfaces import DBAPIConnection

__all__ = [
    "is_shared",
    "lock_rows",
    "lock_schema",
    "one_instant",
    "open_engine",
    "postgresql_engine",
    "sqlite_engine",
    "sqlite_url",
]

_BUSY_SECONDS: Final = 10.0
_AWAY_SECONDS: Final = 5.0
_TCP_MS: Final = 3_000
_SCHEMA_LOCK: Final = 0x7265_6370_726F_7879  # "recproxy", for pg_advisory_xact_lock(bigint)
_POSTGRESQL_SETTINGS: Final = {
    "synchronous_commit": "on",  # a commit is on the disk when it returns, whatever the server's default
    "default_transaction_isolation": "read committed",
    "lock_timeout": "3s",  # the thread that records may stand still for four (rtp.fork.ring_bytes_for)
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


def open_engine(url: str, password: str = "") -> sa.Engine:
    """Make the engine that a URL asks for.

    Args:
        url: SQLAlchemy URL, ``sqlite`` or ``postgresql+psycopg``.
        password: Of the role at the PostgreSQL server; empty if the server asks for none.

    Raises:
        CatalogueError: It is for another database, or its driver is not installed.
    """
    backend = sa.make_url(url).get_backend_name()
    if backend == "sqlite":
        return sqlite_engine(url)
    if backend == "postgresql":
        return postgresql_engine(url, password)
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


def postgresql_engine(url: str, password: str = "") -> sa.Engine:
    """Make an engine whose commits are on the server's disk when they return.

    A connection that the server closed meanwhile is replaced before it is used. A server that
    cannot be reached is not asked again for five seconds: who records cannot wait for it each time.

    Args:
        url: SQLAlchemy URL, ``postgresql+psycopg``.
        password: Of the role; never part of a message.

    Raises:
        CatalogueError: psycopg is not installed.
    """
    address = sa.make_url(url)
    if password:
        address = address.set(password=password)
    try:
        engine = sa.create_engine(
            address,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"connect_timeout": 2, "tcp_user_timeout": _TCP_MS, "application_name": "recproxy"},
        )
    except ImportError as err:
        raise CatalogueError(
            "a catalogue in PostgreSQL needs psycopg: install recproxy with its extra postgresql"
        ) from err
    sa.event.listen(engine, "do_connect", _Door().connect)
    sa.event.listen(engine, "connect", _set_up_postgresql)
    return engine


def is_shared(engine: sa.Engine) -> bool:
    """Whether other nodes may use the same catalogue."""
    return engine.dialect.name != "sqlite"


def lock_schema(connection: sa.Connection) -> None:
    """Let one process at a time make or change tables, until the transaction ends."""
    if connection.dialect.name == "postgresql":
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


class _Door:
    """The way to a server: shut for a while when nobody answered."""

    def __init__(self) -> None:
        self._shut_until = float("-inf")

    def connect(
        self, dialect: sa.Dialect, _record: object, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> DBAPIConnection:
        """Connect, or say at once that it failed just now."""
        errors = dialect.loaded_dbapi
        if time.monotonic() < self._shut_until:
            raise errors.OperationalError("the server was not reached just now")
        try:
            return dialect.connect(*arguments, **options)
        except errors.OperationalError:
            self._shut_until = time.monotonic() + _AWAY_SECONDS
            raise


def _set_up_postgresql(connection: psycopg.Connection[Any], _record: object) -> None:
    connection.autocommit = True
    with connection.cursor() as cursor:
        for name, value in _POSTGRESQL_SETTINGS.items():
            cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
    connection.autocommit = False
