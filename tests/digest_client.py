"""The client's side of digest authentication, written from RFC 7616 for tests.

Kept apart from ``recproxy.sip.digest`` on purpose.
"""

from __future__ import annotations

import hashlib
import re

_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def field(challenge: str, name: str) -> str:
    """A parameter of a challenge, unquoted; empty if it is not there."""
    found = re.search(rf'\b{name}="?([^",]*)"?', challenge)
    return found[1] if found else ""


def authorization(
    challenge: str,
    uri: str,
    *,
    user: str = "pbx",
    spoken: str = "open sesame",
    method: str = "INVITE",
    count: int = 1,
    cnonce: str = "0a4f113b",
) -> str:
    """The value of Proxy-Authorization that answers a challenge."""
    algorithm = field(challenge, "algorithm")

    def hashed(text: str) -> str:
        return _HASHES[algorithm](text.encode()).hexdigest()

    realm, nonce = field(challenge, "realm"), field(challenge, "nonce")
    first = hashed(f"{user}:{realm}:{spoken}")
    second = hashed(f"{method}:{uri}")
    response = hashed(f"{first}:{nonce}:{count:08x}:{cnonce}:auth:{second}")
    return (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}",'
        f' algorithm={algorithm}, cnonce="{cnonce}", qop=auth, nc={count:08x}'
    )
