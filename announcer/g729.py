"""G.729 by libbcg729, if the machine has it.

recproxy neither contains nor needs that library: it is loaded where the operator installed it.
Its licence is GPL-3.0-or-later, which a program under GPL-2.0-or-later may be combined with.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Final

import numpy as np
import numpy.typing as npt

from announcer.errors import PromptError

__all__ = ["FRAME_BYTES", "FRAME_MS", "RATE_HZ", "encode", "find", "is_available"]

RATE_HZ: Final = 8_000
FRAME_MS: Final = 10
FRAME_BYTES: Final = 10

_LIBRARY: Final = "libbcg729.so.0"
_FRAME_SAMPLES: Final = RATE_HZ * FRAME_MS // 1000
_NO_SILENCE: Final = 0  # every frame is sent: annex B would make pauses in the announcement


@functools.cache
def find() -> ctypes.CDLL | None:
    """Load the library, once; the functions are those of bcg729/encoder.h since 1.0.2.

    Returns:
        The library, or None if the machine has none.
    """
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:  # not installed, which is_available() tells
        return None
    library.initBcg729EncoderChannel.argtypes = (ctypes.c_uint8,)
    library.initBcg729EncoderChannel.restype = ctypes.c_void_p
    library.closeBcg729EncoderChannel.argtypes = (ctypes.c_void_p,)
    library.closeBcg729EncoderChannel.restype = None
    library.bcg729Encoder.argtypes = (
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_uint8),
    )
    library.bcg729Encoder.restype = None
    return library


def is_available() -> bool:
    """Tell whether this machine can encode G.729."""
    return find() is not None


def encode(pcm: npt.NDArray[np.int16]) -> bytes:
    """Encode samples.

    Args:
        pcm: Mono, at `RATE_HZ`, whole frames of `FRAME_MS`.

    Returns:
        `FRAME_BYTES` for each frame.

    Raises:
        PromptError: The library is not installed, or out of memory.
    """
    library = find()
    if library is None:
        raise PromptError(
            f"no announcement can be made in G729 without {_LIBRARY}: install it (Debian: libbcg729-0), "
            "or agree on PCMU, PCMA, G722 or opus"
        )
    encoder = library.initBcg729EncoderChannel(_NO_SILENCE)
    if not encoder:
        raise PromptError(f"{_LIBRARY} could not make an encoder: no memory")
    out = ctypes.create_string_buffer(2 * FRAME_BYTES)
    length = ctypes.c_uint8()
    frames: list[bytes] = []
    try:
        for at in range(0, len(pcm), _FRAME_SAMPLES):
            library.bcg729Encoder(
                encoder, pcm[at : at + _FRAME_SAMPLES].astype(np.int16).tobytes(), out, ctypes.byref(length)
            )
            frames.append(out.raw[:FRAME_BYTES])
    finally:
        library.closeBcg729EncoderChannel(encoder)
    return b"".join(frames)
