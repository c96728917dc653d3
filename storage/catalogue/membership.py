"""Which data directory stands behind the name of a node, where several nodes share a catalogue.

Two nodes of one name would each take the other's open recordings for its own and, at its
next start, erase them. So a name belongs to the data directory that used it first.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from storage.age import Random
from storage.catalogue.engines import open_engine
from storage.catalogue.queries import named_errors
from storage.catalogue.schema import NODES
from storage.durable import replace
from storage.errors import CatalogueError
from storage.files import Files

__all__ = ["NODE_PATH", "join", "reach"]

NODE_PATH: Final = "node.id"
_ID: Final = re.compile(r"[0-9a-f]{32}\Z")
_ID_BYTES: Final = 16


def join(
    connection: sa.Connection, files: Files, nodes: Sequence[str], random: Random = secrets.token_bytes
) -> None:
    """Enter a data directory under the name of its node, and under those that it took over.

    Args:
        connection: In a transaction that nobody else makes at the same time (``lock_schema``).
        files: The data directory.
        nodes: Name of the node, then of those whose data directory was moved into this one:
            they are taken from whoever had them, who is refused from then on.
        random: Source of randomness for the id of a data directory that has none.

    Raises:
        CatalogueError: The name is another data directory's, or the id of this one is damaged.
        FileFault: The id cannot be read or written.
    """
    name, *former = nodes
    directory = _directory_id(files, random)
    known = connection.scalar(sa.select(NODES.c.directory).where(NODES.c.name == name))
    if known is None:
        connection.execute(NODES.insert().values(name=name, directory=directory))
    elif known != directory:
        raise CatalogueError(
            f"another data directory is node {name} in this catalogue: give this node a name of its own"
        )
    for old in former:
        connection.execute(NODES.delete().where(NODES.c.name == old))
        connection.execute(NODES.insert().values(name=old, directory=directory))


def _directory_id(files: Files, random: Random) -> str:
    if files.size(NODE_PATH) is None:
        replace(files, NODE_PATH, random(_ID_BYTES).hex().encode() + b"\n")
    text = files.read(NODE_PATH, 0, 64).decode(errors="replace").strip()
    if not _ID.match(text):
        raise CatalogueError(f"{NODE_PATH} is damaged: put back a copy; the catalogue knows this node by it")
    return text


def reach(url: str, password: str = "") -> None:
    """Ask the server of a catalogue whether we may come in; makes and changes nothing.

    Args:
        url: SQLAlchemy URL.
        password: Of the role, if the server asks for one.

    Raises:
        CatalogueError: It cannot be reached, refuses us, or its driver is not installed.
    """
    engine = open_engine(url, password)
    try:
        with named_errors(), engine.connect():
            pass
    finally:
        engine.dispose()
