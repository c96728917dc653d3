"""What a recording client says: read in bounds, whoever wrote it, and answered as a recording server."""

from __future__ import annotations

import contextlib
import re

import pytest
import sdp_bodies
from hypothesis import given
from hypothesis import strategies as st
from siprec_client import CALLEE, CALLER, Voice, forked, metadata, multipart, offer

from recproxy.call.commands import AnswerFork
from recproxy.call.events import SRTP_SECRET_BYTES, ForkSides, LegName, LocalMedia
from recproxy.call.forkmedia import take
from recproxy.errors import PeerError, SipError
from recproxy.sip import sdp, siprec
from recproxy.sip.fork_dialog import ForkDialog
from recproxy.sip.headers import Message, read_message
from recproxy.sip.siprec import Metadata, notice_of, party_of, read_metadata
from recproxy.sip.siprec_sdp import fork_answer

LOCAL = {
    LegName.CALLER: (LocalMedia("192.0.2.1", 20000, bytes(range(SRTP_SECRET_BYTES))),),
    LegName.CALLEE: (LocalMedia("192.0.2.1", 20002, bytes(range(1, SRTP_SECRET_BYTES + 1))),),
}
HEADER = "X-Recording-Notice"
# As an SBC wrote it before the RFC: other names for ids, the streams inside the participants.
DRAFT = b"""<?xml version='1.0' encoding='UTF-8'?>
<recording xmlns='urn:ietf:params:xml:ns:recording'>
  <dataMode>complete</dataMode>
  <session id="s"><start-time>2026-11-24T12:00:00</start-time></session>
  <participant id="a" session="s"><aor>sip:100@sbc.example</aor><name>Ann</name><send>x</send></participant>
  <participant id="b" session="s"><aor>tel:+31301234567</aor><send>y</send></participant>
  <stream id="x" session="s"><mode>separate</mode><label>7</label></stream>
  <stream id="y" session="s"><mode>separate</mode><label>8</label></stream>
</recording>"""


def request(kind: str, body: bytes, *headers: str, method: str = "INVITE") -> Message:
    lines = [
        f"{method} sip:srs@192.0.2.1 SIP/2.0",
        "From: <sip:src@192.0.2.9>;tag=1",
        "Call-ID: a",
        *headers,
        *([f"Content-Type: {kind}"] if body else []),
        f"Content-Length: {len(body)}",
    ]
    return read_message(("\r\n".join(lines) + "\r\n\r\n").encode() + body)


def test_a_complete_snapshot_names_participants_streams_and_whose_voice_is_where() -> None:
    read = read_metadata(metadata(CALLER, CALLEE))
    assert read.complete
    assert read.parties == ("p-caller", "p-callee")
    assert read.labels == {"s-1": "1", "s-2": "2"}
    assert read.speakers("2") == {"p-callee"}
    caller, callee = (party_of(read, party) for party in read.parties)
    assert caller is not None
    assert caller.number == "+31612345678"
    assert callee is not None
    assert callee.number == "+31301234567"
    assert read.sides(read.parties, ("1", "2")) == ForkSides(0, 1)
    assert read.sides(read.parties, ("2", "1")) == ForkSides(1, 0), "labels count, not the order of sections"


def test_metadata_of_the_drafts_before_the_rfc_is_read_too() -> None:
    read = read_metadata(DRAFT)
    assert read.parties == ("a", "b")
    assert read.sides(read.parties, ("8", "7")) == ForkSides(1, 0)
    uri = party_of(read, "b")
    assert uri is not None
    assert uri.number == "+31301234567"


def test_a_partial_snapshot_changes_what_it_names_and_nothing_else() -> None:
    before = read_metadata(metadata(CALLER, CALLEE))
    swapped = read_metadata(
        metadata(
            Voice("p-caller", CALLER.address, "s-2", "2"),
            Voice("p-callee", CALLEE.address, "s-1", "1"),
            mode="partial",
        )
    )
    after = swapped.after(before)
    assert after.sides(before.parties, ("1", "2")) == ForkSides(1, 0)
    assert list(after.participants) == ["p-caller", "p-callee"]
    joined = read_metadata(metadata(Voice("p-3", "sip:third@sbc.example", "s-3", "3"), mode="partial"))
    again = joined.after(before)
    assert again.sides(before.parties, ("1", "2", "3")) == ForkSides(0, 1), "a third voice is nobody's"
    with pytest.raises(SipError, match="partial snapshot, and no complete one"):
        joined.after(None)
    assert before.after(joined) is before, "a complete one replaces all"


@pytest.mark.parametrize(
    ("labels", "sides"),
    [
        (("1", "2"), ForkSides(0, 1)),
        (("", ""), ForkSides(0, 1)),
        ((None, "1", "2"), ForkSides(1, 2)),
        (("9", "2"), ForkSides(0, 1)),
        (("9", "1"), ForkSides(1, 0)),
        (("2",), ForkSides(None, 0)),
        (("1", "1"), ForkSides(0, None)),
        ((), ForkSides(None, None)),
        (("", "", ""), ForkSides(0, 1)),
    ],
)
def test_sections_without_a_word_about_them_go_to_who_has_none(
    labels: tuple[str | None, ...], sides: ForkSides
) -> None:
    read = read_metadata(metadata(CALLER, CALLEE))
    assert read.sides(read.parties, labels) == sides


def test_one_stream_with_both_voices_is_the_callers_channel() -> None:
    mixed = Voice("p-callee", CALLEE.address, "s-1", "1")
    read = read_metadata(metadata(CALLER, mixed))
    assert read.sides(read.parties, ("1",)) == ForkSides(0, None)


NESTED = b"<recording>" + b"<a>" * 12 + b"</a>" * 12 + b"</recording>"
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">]>'
    b"<recording><datamode>&b;</datamode></recording>"
)
OUTSIDE = (
    b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    b'<recording><participant participant_id="p"><nameID aor="&x;"/></participant></recording>'
)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "not XML"),
        (b"<recording>", "not XML"),
        (b"\xff\xfe\x00", "not XML"),
        (b'<?xml version="1.0" encoding="ebcdic-x"?><recording/>', "not XML"),
        (b"<other/>", "root is not recording"),
        (BOMB, "DTDForbidden"),
        (OUTSIDE, "DTDForbidden"),
        (b'<!DOCTYPE recording SYSTEM "http://192.0.2.9/x.dtd"><recording/>', "DTDForbidden"),
        (NESTED, "deeper than 12"),
        (b"<recording>" + b"<a/>" * 1024 + b"</recording>", "more than 1024 elements"),
        (b"<recording>" + b" " * siprec.MAX_BYTES + b"</recording>", "bytes, more than"),
        (b"<recording><datamode>perhaps</datamode></recording>", "neither complete nor partial"),
        (b"<recording><participant/></recording>", "without participant_id"),
        (b"<recording><stream stream_id=''/></recording>", "without stream_id"),
        (b"<recording><participant id='%s'/></recording>" % (b"x" * 257), "without participant_id"),
        (
            b"<recording><stream id='s'><label>" + b"1" * 257 + b"</label></stream></recording>",
            "longer than 256",
        ),
    ],
    ids=range(16),
)
def test_a_hostile_or_broken_document_is_refused_with_a_reason(document: bytes, why: str) -> None:
    with pytest.raises(SipError, match=re.escape(why)) as refused:
        read_metadata(document)
    assert refused.value.code in {400, 513}
    assert "passwd" not in str(refused.value)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(document: bytes) -> None:
    with contextlib.suppress(SipError):
        read_metadata(document)


_names = st.sampled_from(
    ["recording", "participant", "stream", "participantstreamassoc", "send", "label", "x"]
)
_attributes = st.dictionaries(
    st.sampled_from(["id", "participant_id", "stream_id", "aor"]), st.text("ab1:@<&", max_size=6), max_size=3
)


def _element(name: str, attributes: dict[str, str], inner: str) -> str:
    def quoted(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;")

    written = "".join(f' {key}="{quoted(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>{inner}</{name}>"


@given(
    st.recursive(
        st.text("ab1", max_size=4),
        lambda inner: st.builds(_element, _names, _attributes, st.lists(inner, max_size=4).map("".join)),
        max_leaves=20,
    )
)
def test_any_well_formed_document_is_read_or_refused(inner: str) -> None:
    try:
        read = read_metadata(f"<recording>{inner}</recording>".encode())
    except SipError:
        return
    labels = [*read.labels.values()]
    sides = read.sides(read.parties, labels)
    taken = [side for side in sides if side is not None]
    assert len(set(taken)) == len(taken), "no section is both parties'"
    assert all(0 <= side < len(labels) for side in taken)


@given(
    st.lists(st.sampled_from([None, "", "1", "2", "3"]), max_size=6),
    st.permutations([CALLER, CALLEE, Voice("p-3", "sip:x@y", "s-3", "3")]),
)
def test_a_labelled_section_never_goes_to_the_wrong_party(
    labels: list[str | None], voices: list[Voice]
) -> None:
    read = read_metadata(metadata(*voices))
    sides = read.sides(("p-caller", "p-callee"), labels)
    assert sides.caller is None or labels[sides.caller] not in {None, "2", "3"}
    assert sides.callee is None or labels[sides.callee] not in {None, "1", "3"}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("completed;prompt=training;language=nl;heard-by=both", (True, "training", "nl", tuple(LegName))),
        ('Completed ; Prompt="training"', (True, "training", "", ())),
        ("pending", (False, "", "", ())),
        ("completed;heard-by=callee", (True, "", "", (LegName.CALLEE,))),
    ],
)
def test_the_announcement_header_says_what_was_heard_by_whom(
    value: str, wanted: tuple[bool, str, str, tuple[LegName, ...]]
) -> None:
    said = notice_of(value)
    assert (said.completed, said.prompt, said.language, said.heard_by) == wanted
    assert said.text == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yes",
        "failed;prompt=training",
        "completed;prompt",
        "completed;prompt=",
        "completed;prompt=a;prompt=b",
        "completed;heard-by=everybody",
        "completed;language=not a language",
        "completed;prompt=" + "x" * 257,
        "completed;",
    ],
)
def test_an_announcement_header_that_says_anything_else_is_refused(value: str) -> None:
    with pytest.raises(SipError, match="announcement of the recording client"):
        notice_of(value)


@given(st.text(max_size=80))
def test_any_announcement_header_is_read_or_refused(value: str) -> None:
    try:
        said = notice_of(value)
    except SipError:
        return
    assert said.completed == value.split(";", maxsplit=1)[0].strip().lower().startswith("completed")


# ---- a whole dialog ----------------------------------------------------------------


def test_an_invite_gives_offer_sides_parties_and_notice() -> None:
    dialog = ForkDialog(HEADER)
    kind, body = forked(offer("192.0.2.9", (4000, 4002)), metadata(CALLER, CALLEE))
    held, said = dialog.begin(request(kind, body, f"{HEADER}: completed;prompt=training"))
    assert held.parties == dialog.parties == ("p-caller", "p-callee")
    assert said.sides == ForkSides(0, 1)
    assert said.offer is not None
    assert [stream.label for stream in said.offer.streams] == ["1", "2"]
    assert said.notice is not None
    assert said.notice.completed


@pytest.mark.parametrize(
    "kind", ["application/rs-metadata", "application/rs-metadata+xml", "Application/RS-Metadata"]
)
def test_metadata_is_known_by_either_media_type(kind: str) -> None:
    parts = multipart(("application/sdp", offer("192.0.2.9", (4000, 4002))), (kind, metadata(CALLER, CALLEE)))
    ForkDialog(HEADER).begin(request(*parts))


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("application/sdp", offer("192.0.2.9", (4000, 4002)), 400),
        ("application/rs-metadata+xml", metadata(CALLER), 488),
        ("", b"", 488),
        ("multipart/mixed", b"x", 400),
        (*forked(b"v=1", metadata(CALLER)), 488),
        (*forked(offer("192.0.2.9", (4000, 4002)), b"<recording"), 400),
        (*forked(offer("192.0.2.9", (4000, 4002)), metadata(CALLER, mode="partial")), 400),
        (*multipart(*[("text/plain", b"x")] * 17, ("application/sdp", b"v=0")), 513),
    ],
    ids=range(8),
)
def test_an_invite_without_offer_or_metadata_is_refused(kind: str, body: bytes, code: int) -> None:
    dialog = ForkDialog(HEADER)
    with pytest.raises(PeerError) as refused:
        dialog.begin(request(kind, body))
    assert getattr(refused.value, "code", 488) == code


def test_what_is_malformed_later_leaves_everything_as_it_was() -> None:
    dialog = ForkDialog(HEADER)
    dialog.begin(request(*forked(offer("192.0.2.9", (4000, 4002)), metadata(CALLER, CALLEE))))
    before = (dialog.metadata, dialog.offer)
    for parts in (
        forked(offer("192.0.2.9", (5000, 5002), version=2), BOMB),
        forked(b"v=0\r\n", metadata(CALLEE, CALLER)),
    ):
        with pytest.raises(PeerError):
            dialog.read(request(*parts, method="UPDATE"))
        assert (dialog.metadata, dialog.offer) == before
    with pytest.raises(SipError):
        dialog.read(request("application/sdp", offer("192.0.2.9", (6000, 6002)), f"{HEADER}: perhaps"))
    assert (dialog.metadata, dialog.offer) == before


def test_metadata_alone_is_laid_over_the_offer_that_stands() -> None:
    dialog = ForkDialog(HEADER)
    dialog.begin(request(*forked(offer("192.0.2.9", (4000, 4002)), metadata(CALLER, CALLEE))))
    other = metadata(
        Voice("p-caller", CALLER.address, "s-2", "2"),
        Voice("p-callee", CALLEE.address, "s-1", "1"),
        mode="partial",
    )
    said = dialog.read(request("application/rs-metadata+xml", other, method="UPDATE"))
    assert said.offer is None
    assert said.sides == ForkSides(1, 0)
    bare = dialog.read(request("", b"", f"{HEADER}: completed;prompt=training", method="UPDATE"))
    assert bare.sides == ForkSides(1, 0)
    assert bare.notice is not None


# ---- the answer --------------------------------------------------------------------


BOTH = ForkSides(0, 1)


def answer_to(body: bytes, sides: ForkSides = BOTH) -> list[sdp_bodies.Section]:
    return sdp_bodies.read(answer_text(body, sides))


def answer_text(body: bytes, sides: ForkSides = BOTH, version: int = 1) -> bytes:
    taken = take(sdp.parse(body), sides)
    assert taken is not None
    written = fork_answer(taken.answer(LOCAL, again=False), version)
    sdp.parse(written)  # our own reader takes it
    return written


def test_each_section_is_answered_recvonly_with_its_own_port_and_label() -> None:
    written = answer_text(
        offer("192.0.2.9", (4000, 4002), codecs=(sdp_bodies.PCMA, sdp_bodies.TELEPHONE_EVENT))
    )
    first, second = sdp_bodies.read(written)
    assert (first.port, second.port) == (20000, 20002)
    assert {first.direction, second.direction} == {"recvonly"}
    assert first.formats == ("8", "101")
    assert re.findall(rb"a=label:(\S+)", written) == [b"1", b"2"]
    assert b"a=rtpmap:8 PCMA/8000\r\n" in written
    assert b"a=rtpmap:101 telephone-event/8000\r\n" in written
    assert b"sendonly" not in written


def test_the_sides_choose_the_ports_and_versions_count() -> None:
    body = offer("192.0.2.9", (4000, 4002))
    assert [section.port for section in answer_to(body, ForkSides(1, 0))] == [20002, 20000]
    assert b"o=recproxy 20000 1 IN IP4 192.0.2.1" in answer_text(body)
    assert b"o=recproxy 20000 2 IN IP4 192.0.2.1" in answer_text(body, version=2)


def test_sections_that_are_nobodys_get_port_0_and_keep_their_formats() -> None:
    body = offer(
        "192.0.2.9", (4000, 4002, 4004), labels=("1", "2", "3"), directions=("sendonly",) * 3, more=("",) * 3
    )
    video = b"m=video 4006 RTP/AVP 96 97\r\na=rtpmap:96 VP8/90000\r\na=label:4\r\n"
    ports = [(section.kind, section.port, section.formats) for section in answer_to(body + video)]
    assert ports == [
        ("audio", 20000, ("0",)),
        ("audio", 20002, ("0",)),
        ("audio", 0, ("0",)),
        ("video", 0, ("96", "97")),
    ]


def test_only_codecs_that_can_be_recorded_are_taken() -> None:
    amr = ("97", "AMR-WB/16000")
    (first, _second) = answer_to(
        offer("192.0.2.9", (4000, 4002), codecs=(amr, sdp_bodies.OPUS, sdp_bodies.PCMU))
    )
    assert first.formats == ("111", "0")
    assert take(sdp.parse(offer("192.0.2.9", (4000, 4002), codecs=(amr,))), ForkSides(0, 1)) is None
    dtls = offer("192.0.2.9", (4000, 4002), protocol="UDP/TLS/RTP/SAVP")
    assert take(sdp.parse(dtls), ForkSides(0, 1)) is None, "keys by DTLS cannot be opened"


def test_a_payload_type_means_one_thing_in_a_recording() -> None:
    head = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
    first = "m=audio 4000 RTP/AVP 111 0\r\na=rtpmap:111 opus/48000/2\r\n"
    second = "m=audio 4002 RTP/AVP 111 8\r\na=rtpmap:111 G722/8000\r\n"
    one, two = answer_to((head + first + second).encode())
    assert (one.formats, two.formats) == (("111", "0"), ("8",))


def test_a_pause_is_answered_inactive() -> None:
    body = offer("192.0.2.9", (4000, 4002), directions=("inactive", "sendonly"))
    assert [section.direction for section in answer_to(body)] == ["inactive", "recvonly"]
    taken = take(sdp.parse(body), ForkSides(0, 1))
    assert taken is not None
    assert taken.paused


def test_srtp_is_answered_with_a_key_of_ours_under_the_tag_that_was_offered() -> None:
    line = f"a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}"
    written = answer_text(offer("192.0.2.9", (4000, 4002), protocol="RTP/SAVP", more=(line, line)))
    keys = re.findall(rb"a=crypto:(\d+) (\S+) inline:(\S+)", written)
    assert [(tag, suite) for tag, suite, _ in keys] == [(b"3", b"AES_CM_128_HMAC_SHA1_80")] * 2
    assert keys[0][2] != keys[1][2]
    assert b"A" * 40 not in {key for _, _, key in keys}
    assert {section.protocol for section in sdp_bodies.read(written)} == {"RTP/SAVP"}


def test_an_answer_needs_as_many_sections_as_the_offer() -> None:
    offered = sdp.parse(offer("192.0.2.9", (4000, 4002)))
    with pytest.raises(PeerError, match="2 m= sections, but 1 answers"):
        fork_answer(AnswerFork(offered, (None,)), 1)


@given(st.binary(max_size=300), st.integers(-1, 3), st.integers(-1, 3))
def test_whatever_can_be_taken_can_be_answered(tail: bytes, caller: int, callee: int) -> None:
    body = offer("192.0.2.9", (4000, 4002)) + tail
    try:
        read = sdp.parse(body)
    except PeerError:
        return
    sides = ForkSides(caller if caller >= 0 else None, callee if callee >= 0 and callee != caller else None)
    taken = take(read, sides)
    if taken is not None:
        answered = sdp.parse(fork_answer(taken.answer(LOCAL, again=True), 2))
        assert len(answered.streams) == len(read.streams)
        live = {at for at, stream in enumerate(answered.streams) if stream.port}
        assert live == set(taken.sides.values())


def test_metadata_says_nothing_of_names_in_its_repr() -> None:
    assert "+31612345678" not in repr(read_metadata(metadata(CALLER, CALLEE)))
    assert party_of(Metadata(participants={"p": "mailto:x@y"}), "p") is None
    assert party_of(Metadata(), "p") is None
