"""Gives what is stored as one age file: header and body as they are, which only a recipient opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from fastapi.responses import StreamingResponse

from recproxy.api.parts import ApiParts
from storage import KeyStore, RecordingId
from storage.bodies import Bodies

__all__ = ["Sealed", "sealed_answer"]


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is asked for.

    Attributes:
        slot: Of its header in the key store: a purpose, or what is derived for one.
        path: Of its body in the data directory.
        size_bytes: Of its body.
        name: Of the file that a browser makes of it.
    """

    slot: str
    path: str
    size_bytes: int
    name: str


def sealed_answer(
    parts: ApiParts,
    recording: RecordingId,
    sealed: Sealed,
    event: str,
    actor: str,
    facts: Mapping[str, str],
) -> StreamingResponse:
    """Give it away, once the audit chain says so.

    Args:
        parts: Of the API.
        recording: Of which recording.
        sealed: What of it.
        event: For the audit chain.
        actor: Who asks.
        facts: What the audit chain is told.

    Raises:
        StorageError: Header or body is not there, and the chain is told nothing; or it cannot be told.
    """
    header = KeyStore(parts.files).get(recording, sealed.slot)
    body = Bodies(parts.files, parts.objects).pieces(sealed.path)
    first = next(body, b"")
    parts.chain.append(event, actor, facts)
    return StreamingResponse(
        chain((header, first), body),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(len(header) + sealed.size_bytes),
            "Content-Disposition": f'attachment; filename="{sealed.name}"',
        },
    )
