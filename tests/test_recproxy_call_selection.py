"""Which codecs of an offer a recorded call may use."""

import pytest

from recproxy.call.events import Codec, MediaDirection, Sdp, StreamFacts
from recproxy.call.selection import select_recordable

PCMU, PCMA, G729 = Codec(0, "PCMU", 8000), Codec(8, "PCMA", 8000), Codec(18, "G729", 8000)
G723, KEYS = Codec(4, "G723", 8000), Codec(101, "TELEPHONE-EVENT", 8000)


def _offer(*codecs: Codec) -> Sdp:
    stream = StreamFacts("audio", "RTP/AVP", "192.0.2.1", 4000, None, MediaDirection.SENDRECV, 20, codecs)
    return Sdp(b"", (stream,))


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        ((PCMU, G729, KEYS), {0, 101}),
        ((G729, PCMA, PCMU), {8, 0}),
        ((G729, KEYS), {18, 101}),
        ((G723, G729), {18}),
        ((PCMU, G723), {0}),
    ],
)
def test_g729_is_taken_where_nothing_better_is_offered(offered: tuple[Codec, ...], kept: set[int]) -> None:
    selection = select_recordable(_offer(*offered))
    assert selection is not None
    assert selection.keep == (frozenset(kept),)


@pytest.mark.parametrize("offered", [(), (KEYS,), (G723, KEYS), (Codec(18, "G729", 16_000),)])
def test_an_offer_without_a_codec_that_we_record_is_not_taken(offered: tuple[Codec, ...]) -> None:
    assert select_recordable(_offer(*offered)) is None
