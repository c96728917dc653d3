"""The two recipient types: known answers, round trips, and refusals without secrets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.age import (
    HeaderError,
    HybridIdentity,
    HybridRecipient,
    IdentityError,
    KeyFormatError,
    RecipientError,
    Stanza,
    X25519Identity,
    X25519Recipient,
)
from storage.age.bech32 import encode
from storage.age.stanza import encode_base64

FILE_KEY = bytes(range(16))
SPEC_IDENTITY = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
SPEC_RECIPIENT = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
SPEC_HYBRID_IDENTITY = "AGE-SECRET-KEY-PQ-1XX76JRALNLXDMEW0CRK45QMCCH4X06SE84UN3VPM33W6HWDX0H3SK3ZQFR"
SPEC_HYBRID_RECIPIENT_START = (
    "age1pq1x34nzsvr0rxjsgdn8zgyhfe8j7ceq5r9rdelkjuh3y235jzxshfg87pzf5zrqtzdxz95paef6caq5"
)
LOW_ORDER = (
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
)
"""Points whose multiples by a clamped scalar are zero (RFC 7748, section 6.1, asks to check for them)."""

AnyIdentity = X25519Identity | HybridIdentity
IDENTITIES: list[AnyIdentity] = [X25519Identity(b"\x07" * 32), HybridIdentity(b"\x07" * 32)]
either = pytest.mark.parametrize("identity", IDENTITIES, ids=["x25519", "hybrid"])


def test_key_pair_of_the_specification() -> None:
    identity = X25519Identity.parse(SPEC_IDENTITY)
    assert identity.secret == b"\x42" * 32
    assert str(identity.recipient) == SPEC_RECIPIENT
    assert X25519Recipient.parse(SPEC_RECIPIENT) == identity.recipient
    assert identity.secret_text() == SPEC_IDENTITY


def test_hybrid_key_pair_of_the_specification() -> None:
    identity = HybridIdentity.parse(SPEC_HYBRID_IDENTITY)
    assert identity.secret_text() == SPEC_HYBRID_IDENTITY
    text = str(identity.recipient)
    assert text.startswith(SPEC_HYBRID_RECIPIENT_START)
    assert HybridRecipient.parse(text) == identity.recipient


@either
def test_file_key_is_unwrapped_by_its_identity_alone(identity: AnyIdentity) -> None:
    stanzas = identity.recipient.wrap(FILE_KEY)
    assert identity.unwrap(stanzas) == FILE_KEY
    assert identity.unwrap([Stanza(("x",), b""), *stanzas]) == FILE_KEY
    assert type(identity).generate().unwrap(stanzas) is None
    assert identity.unwrap([]) is None


@either
def test_second_stanza_of_ones_own_type_is_tried(identity: AnyIdentity) -> None:
    other = type(identity).generate()
    assert identity.unwrap([*other.recipient.wrap(FILE_KEY), *identity.recipient.wrap(FILE_KEY)]) == FILE_KEY


@either
def test_secret_is_in_no_representation(identity: AnyIdentity) -> None:
    for text in (repr(identity), str(identity), f"{identity}"):
        assert "07" * 4 not in text
        assert "\\x07" not in text
        assert "AGE-SECRET" not in text


@either
def test_text_round_trip(identity: AnyIdentity) -> None:
    assert type(identity).parse(identity.secret_text()) == identity
    assert type(identity.recipient).parse(str(identity.recipient)) == identity.recipient


@either
def test_same_randomness_makes_the_same_identity(identity: AnyIdentity) -> None:
    assert type(identity).generate(lambda length: b"\x07" * length) == identity
    assert type(identity).generate() != type(identity).generate()


@either
def test_every_flipped_bit_of_the_wrapped_key_is_no_match(identity: AnyIdentity) -> None:
    (stanza,) = identity.recipient.wrap(FILE_KEY)
    for position in range(len(stanza.body) * 8):
        body = bytearray(stanza.body)
        body[position // 8] ^= 1 << position % 8
        assert identity.unwrap([Stanza(stanza.arguments, bytes(body))]) is None


@either
def test_malformed_stanza_of_ones_own_type_is_refused(identity: AnyIdentity) -> None:
    (stanza,) = identity.recipient.wrap(FILE_KEY)
    kind, share = stanza.arguments
    malformed = [
        Stanza((kind,), stanza.body),
        Stanza((kind, share, "x"), stanza.body),
        Stanza((kind, share[:-1]), stanza.body),
        Stanza((kind, share + "A"), stanza.body),
        Stanza((kind, "!" + share[1:]), stanza.body),
        Stanza((kind, encode_base64(bytes(31)).decode()), stanza.body),
        Stanza(stanza.arguments, stanza.body[:-1]),
        Stanza(stanza.arguments, stanza.body + b"\0"),
    ]
    for wrong in malformed:
        with pytest.raises(HeaderError, match="stanza 2"):
            identity.unwrap([Stanza(("x",), b""), wrong])


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point[:2].hex())
def test_point_of_low_order_is_refused_as_recipient_and_as_share(point: bytes) -> None:
    with pytest.raises(RecipientError, match="low order"):
        X25519Recipient(point)
    share = encode_base64(point).decode()
    with pytest.raises(HeaderError, match="low order"):
        IDENTITIES[0].unwrap([Stanza(("X25519", share), bytes(32))])
    with pytest.raises(RecipientError, match="low order"):
        HybridRecipient(HybridIdentity(bytes(32)).recipient.public_key[:-32] + point)


def test_low_order_share_of_a_hybrid_stanza_is_refused() -> None:
    (stanza,) = HybridIdentity(bytes(32)).recipient.wrap(FILE_KEY)
    kind, _ = stanza.arguments
    with pytest.raises(HeaderError, match="low order"):
        HybridIdentity(bytes(32)).unwrap([Stanza((kind, encode_base64(bytes(1120)).decode()), stanza.body)])


def test_encapsulation_key_out_of_range_is_refused() -> None:
    with pytest.raises(RecipientError, match="encapsulation key"):
        HybridRecipient(b"\xff" * 1184 + b"\x09" + bytes(31))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(RecipientError, match=f"not {length}"):
        X25519Recipient.parse(encode("age", bytes(length)))
    with pytest.raises(IdentityError, match=f"not {length}"):
        X25519Identity.parse(encode("AGE-SECRET-KEY-", bytes(length)))
    with pytest.raises(RecipientError, match=f"not {length}"):
        HybridRecipient.parse(encode("age1pq", bytes(length)))
    with pytest.raises(IdentityError, match=f"not {length}"):
        HybridIdentity.parse(encode("AGE-SECRET-KEY-PQ-", bytes(length)))


@pytest.mark.parametrize(
    "text",
    [
        SPEC_RECIPIENT.upper(),
        SPEC_IDENTITY,
        SPEC_IDENTITY.lower(),
        SPEC_RECIPIENT + "q",
        " " + SPEC_RECIPIENT,
        "",
    ],
)
def test_text_of_another_kind_is_no_recipient(text: str) -> None:
    with pytest.raises(KeyFormatError):
        X25519Recipient.parse(text)
    with pytest.raises(KeyFormatError):
        HybridRecipient.parse(text)


@pytest.mark.parametrize(
    "text", [SPEC_IDENTITY.lower(), SPEC_RECIPIENT, SPEC_IDENTITY[:-1], SPEC_IDENTITY + "Q", ""]
)
def test_text_of_another_kind_is_no_identity_and_is_not_shown(text: str) -> None:
    with pytest.raises(KeyFormatError) as caught:
        X25519Identity.parse(text)
    assert text[16:40] == "" or text[16:40] not in str(caught.value)
    with pytest.raises(KeyFormatError):
        HybridIdentity.parse(text)


@either
def test_file_key_of_another_length_is_refused(identity: AnyIdentity) -> None:
    with pytest.raises(ValueError, match="16 bytes, not 32"):
        identity.recipient.wrap(bytes(32))


@settings(deadline=None, max_examples=40)
@given(
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
)
def test_any_secret_unwraps_what_its_recipient_wrapped(
    secret: bytes, file_key: bytes, ephemeral: bytes
) -> None:
    identity = X25519Identity(secret)
    stanzas = identity.recipient.wrap(file_key, lambda _length: ephemeral)
    assert stanzas == identity.recipient.wrap(file_key, lambda _length: ephemeral)
    assert identity.unwrap(stanzas) == file_key
