"""SDES keys in SDP (RFC 4568): what is read, what is written, what leaves."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recproxy.call.commands import SdpToSend, StreamSecurity
from recproxy.call.events import SRTP_KEY_BYTES, SRTP_SECRET_BYTES, CryptoOffer, LocalMedia
from recproxy.errors import SdpError
from recproxy.sip import sdp
from recproxy.sip.sdp_crypto import MAX_CRYPTO_LINES, read_crypto, write_crypto

AES = "AES_CM_128_HMAC_SHA1_80"
KEY = bytes(range(30))
INLINE = base64.b64encode(KEY)
LOCAL = (LocalMedia("192.0.2.1", 20000),)


def body(*lines: str, protocol: str = "RTP/SAVP") -> bytes:
    text = ["v=0", "o=- 1 1 IN IP4 10.0.0.1", "s=-", "c=IN IP4 10.0.0.1", "t=0 0"]
    return "\r\n".join((*text, f"m=audio 4000 {protocol} 0", *lines, "")).encode()


def secured(text: bytes, security: StreamSecurity) -> bytes:
    return sdp.rewrite(SdpToSend(text, LOCAL, (None,), (security,)))


def test_the_lines_of_rfc_4568_are_read() -> None:
    # Section 9.2's kind of line, lifetime and session parameter included.
    value = b"1 " + AES.encode() + b" inline:" + INLINE + b"|2^20 WSH=64"
    assert read_crypto([value]) == (CryptoOffer(1, AES, KEY),)


@pytest.mark.parametrize(
    "value",
    [
        b"1 AES_CM_128_HMAC_SHA1_80 inline:" + INLINE + b"|2^20|1:4",  # a master key identifier
        b"1 AES_CM_128_HMAC_SHA1_80 inline:" + INLINE + b";inline:" + INLINE,
        b"1 AES_CM_128_HMAC_SHA1_80 inline:" + INLINE + b" UNENCRYPTED_SRTP",
        b"1 AES_CM_128_HMAC_SHA1_80 inline:" + INLINE + b" KDR=1",
        b"1 AES_CM_128_HMAC_SHA1_80 inline:" + INLINE[:-4],  # 27 bytes
        b"1 AEAD_AES_256_GCM inline:" + INLINE,
        b"1 F8_128_HMAC_SHA1_80 inline:" + INLINE,
        b"x AES_CM_128_HMAC_SHA1_80 inline:" + INLINE,
        b"1 AES_CM_128_HMAC_SHA1_80 inline:" + INLINE + b"!",
        b"1 AES_CM_128_HMAC_SHA1_80",
        b"",
    ],
)
def test_a_line_that_cannot_be_served_is_passed_over(value: bytes) -> None:
    good = b"7 AES_CM_128_HMAC_SHA1_32 inline:" + INLINE
    assert read_crypto([value, good]) == (CryptoOffer(7, "AES_CM_128_HMAC_SHA1_32", KEY),)


def test_lines_without_end_are_not_looked_at() -> None:
    bad, good = b"1 X inline:", b"2 AES_CM_128_HMAC_SHA1_80 inline:" + INLINE
    assert read_crypto([bad] * MAX_CRYPTO_LINES + [good]) == ()
    assert len(read_crypto([bad] * (MAX_CRYPTO_LINES - 1) + [good])) == 1


def test_a_tag_stands_for_its_first_line() -> None:
    again = b"1 AES_CM_128_HMAC_SHA1_80 inline:" + base64.b64encode(bytes(30))
    assert read_crypto([b"1 AES_CM_128_HMAC_SHA1_80 inline:" + INLINE, again]) == (CryptoOffer(1, AES, KEY),)


@given(st.sampled_from(list(SRTP_KEY_BYTES)), st.integers(1, 10**9 - 1), st.data())
def test_what_is_written_is_read(suite: str, tag: int, data: st.DataObject) -> None:
    length = SRTP_KEY_BYTES[suite]
    offer = CryptoOffer(tag, suite, data.draw(st.binary(min_size=length, max_size=length)))
    value = write_crypto(offer).removeprefix(b"crypto:")
    assert read_crypto([value]) == (offer,)
    assert read_crypto([value.rstrip(b"=")]) == (offer,)  # some leave the padding out


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_passed_over(value: bytes) -> None:
    for offer in read_crypto([value]):
        assert len(offer.key) == SRTP_KEY_BYTES[offer.suite]


def test_keys_are_facts_of_the_section_and_are_never_shown() -> None:
    parsed = sdp.parse(body(f"a=crypto:1 {AES} inline:{INLINE.decode()}"))
    assert parsed.streams[0].crypto == (CryptoOffer(1, AES, KEY),)
    local = LocalMedia("192.0.2.1", 20000, bytes(range(SRTP_SECRET_BYTES)))
    shown = repr((parsed, SdpToSend(parsed.body, (local,), (None,))))
    assert INLINE.decode() not in shown
    assert "x00" not in shown
    assert "inline" not in shown


def test_an_error_never_shows_a_key() -> None:
    with pytest.raises(SdpError) as caught:
        sdp.parse(body(f"a=crypto:1 X inline:{INLINE.decode()}\0"))
    assert "inline:..." in str(caught.value)
    assert INLINE.decode()[:4] not in str(caught.value)


def test_our_keys_stand_in_the_place_of_theirs() -> None:
    text = body(
        "k=clear:abc",
        "a=rtpmap:0 PCMU/8000",
        f"a=crypto:1 {AES} inline:{INLINE.decode()}",
        "a=fingerprint:sha-256 AA",
        "a=setup:actpass",
        "a=key-mgmt:mikey AA",
        "a=zrtp-hash:1.10 aa",
        "a=sendrecv",
    )
    ours = CryptoOffer(3, "AEAD_AES_128_GCM", bytes(28))
    sent = secured(text, StreamSecurity("RTP/SAVPF", (ours,)))
    lines = sent.decode().split("\r\n")
    assert lines[5:] == [
        "m=audio 20000 RTP/SAVPF 0",
        "a=crypto:3 AEAD_AES_128_GCM inline:" + base64.b64encode(bytes(28)).decode(),
        "a=rtpmap:0 PCMU/8000",
        "a=sendrecv",
        "",
    ]


def test_plain_rtp_carries_no_key_at_all() -> None:
    text = body(f"a=crypto:1 {AES} inline:{INLINE.decode()}", protocol="RTP/SAVP")
    assert secured(text, StreamSecurity("RTP/AVP")).decode().split("\r\n")[5:] == [
        "m=audio 20000 RTP/AVP 0",
        "",
    ]


def test_keys_of_the_session_and_of_other_sections_go_too() -> None:
    text = body(f"a=crypto:1 {AES} inline:{INLINE.decode()}").replace(
        b"t=0 0\r\n", b"t=0 0\r\na=fingerprint:sha-256 AA\r\nk=prompt\r\n"
    )
    text += f"m=video 4002 RTP/SAVP 31\r\na=crypto:1 {AES} inline:{INLINE.decode()}\r\n".encode()
    sent = sdp.rewrite(SdpToSend(text, (*LOCAL, None), (None, None), (StreamSecurity("RTP/AVP"), None)))
    assert b"inline" not in sent
    assert b"fingerprint" not in sent
    assert b"k=" not in sent
    assert b"m=video 0 RTP/SAVP 31\r\n" in sent


def test_a_passed_call_keeps_its_keys() -> None:
    text = body(f"a=crypto:1 {AES} inline:{INLINE.decode()}", "a=fingerprint:sha-256 AA")
    sent = sdp.rewrite(SdpToSend(text, LOCAL, (None,)))
    assert sent == text.replace(b"10.0.0.1", b"192.0.2.1").replace(b"4000", b"20000")


def test_a_body_that_does_not_end_its_last_line_stays_a_body() -> None:
    text = body(protocol="RTP/AVP").rstrip(b"\r\n")
    sent = secured(text, StreamSecurity("RTP/SAVP", (CryptoOffer(1, AES, KEY),)))
    assert sdp.parse(sent).streams[0].crypto == (CryptoOffer(1, AES, KEY),)
    text = body(f"a=crypto:1 {AES} inline:{INLINE.decode()}").rstrip(b"\r\n")
    sent = secured(text, StreamSecurity("RTP/SAVP", (CryptoOffer(1, AES, bytes(30)),)))
    assert sdp.parse(sent).streams[0].crypto == (CryptoOffer(1, AES, bytes(30)),)


def test_each_suite_has_a_key_of_its_own() -> None:
    local = LocalMedia("192.0.2.1", 20000, bytes(k % 251 for k in range(SRTP_SECRET_BYTES)))
    keys = [local.key(suite) for suite in SRTP_KEY_BYTES]
    assert [len(key) for key in keys] == list(SRTP_KEY_BYTES.values())
    assert len({key[:16] for key in keys}) == len(keys)
