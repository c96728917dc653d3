"""Who called whom, under the recording's own file key."""

from __future__ import annotations

import json
from dataclasses import asdict

from storage.age import PAYLOAD_NONCE_BYTES, PayloadError, open_chunk, payload_key, seal_chunk
from storage.errors import PartiesLost, RecordingDamaged
from storage.tags import Parties


def seal_parties(parties: Parties, file_key: bytes, nonce: bytes) -> bytes:
    """Encrypt the parties as an age payload under the recording's own file key.

    The same header opens it, so shredding the recording erases the parties too,
    in every backup of the catalogue.

    Args:
        parties: What to encrypt.
        file_key: Of the recording, 16 bytes.
        nonce: 16 random bytes, not the nonce of the body.

    Returns:
        Nonce and one final chunk.
    """
    text = json.dumps(asdict(parties)).encode()
    return nonce + seal_chunk(payload_key(file_key, nonce), 0, text, final=True)


def open_parties(sealed: bytes, file_key: bytes) -> Parties:
    """Decrypt what ``seal_parties`` gave.

    Args:
        sealed: From the catalogue.
        file_key: Of the recording, 16 bytes.

    Returns:
        The parties.

    Raises:
        PartiesLost: The catalogue was made again and does not know them.
        RecordingDamaged: The bytes were altered.
    """
    if not sealed:
        raise PartiesLost("who called whom was lost with the catalogue; the recording itself opens")
    nonce, chunk = sealed[:PAYLOAD_NONCE_BYTES], sealed[PAYLOAD_NONCE_BYTES:]
    try:
        values = json.loads(open_chunk(payload_key(file_key, nonce), 0, chunk, final=True))
    except (PayloadError, ValueError) as err:
        raise RecordingDamaged("the parties in the catalogue do not authenticate") from err
    caller_id, callee_id = values["sip_call_ids"]
    return Parties(values["caller"], values["callee"], (caller_id, callee_id))
