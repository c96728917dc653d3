"""The header: written, parsed however it is cut, and refused when anything changed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from storage.age import (
    AgeError,
    ArmoredFileError,
    HeaderError,
    HeaderMacError,
    HybridIdentity,
    NoMatchError,
    Random,
    Stanza,
    TruncatedHeaderError,
    UnsupportedVersionError,
    X25519Identity,
    open_header,
    seal_header,
    split_header,
)
from storage.age.header import HeaderParser, parse_header
from storage.age.stanza import decode_base64, encode_base64

FILE_KEY = bytes(range(16))
IDENTITY = X25519Identity(b"\x11" * 32)
OTHER = X25519Identity(b"\x22" * 32)
ARGUMENTS = st.lists(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=80),
    min_size=1,
    max_size=4,
).map(tuple)
STANZAS = st.builds(Stanza, ARGUMENTS, st.binary(max_size=200))


class GivenStanzas:
    """A recipient that writes the stanzas it was given."""

    labels: frozenset[str] = frozenset()

    def __init__(self, stanzas: Sequence[Stanza]) -> None:
        self._stanzas = stanzas

    def wrap(self, file_key: bytes, random: Random) -> Sequence[Stanza]:
        return self._stanzas


class GivenFileKey:
    """An identity that knows the file key without a stanza."""

    def __init__(self, file_key: bytes) -> None:
        self._file_key = file_key

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        return self._file_key


def counted_random() -> Callable[[int], bytes]:
    """Give bytes that are known and never the same twice."""
    draws = 0

    def random(length_bytes: int) -> bytes:
        nonlocal draws
        draws += 1
        return hashlib.shake_256(draws.to_bytes(4, "big")).digest(length_bytes)

    return random


def sealed() -> bytes:
    return seal_header(FILE_KEY, [IDENTITY.recipient, OTHER.recipient], counted_random())


def test_header_has_the_stated_form_and_mac() -> None:
    header = sealed()
    lines = header.split(b"\n")
    assert lines[0] == b"age-encryption.org/v1"
    assert lines[1].startswith(b"-> X25519 ")
    assert len(lines[2]) == 43
    assert lines[3].startswith(b"-> X25519 ")
    assert len(lines[4]) == 43
    assert lines[6:] == [b""]
    mac_key = HKDF(SHA256(), 32, None, b"header").derive(FILE_KEY)
    authenticated = header[: header.rindex(b"---") + 3]
    assert lines[5] == b"--- " + encode_base64(hmac.digest(mac_key, authenticated, "sha256"))


def test_header_is_a_function_of_its_randomness() -> None:
    assert sealed() == sealed()
    assert sealed() != seal_header(FILE_KEY, [IDENTITY.recipient, OTHER.recipient])


def test_each_stanza_has_an_ephemeral_share_of_its_own() -> None:
    header = parse_header(seal_header(FILE_KEY, [IDENTITY.recipient] * 5))
    assert len({stanza.arguments for stanza in header.stanzas}) == 5


@pytest.mark.parametrize("identities", [[IDENTITY], [OTHER], [X25519Identity(b"\x33" * 32), OTHER]])
def test_each_identity_opens_the_header(identities: list[X25519Identity]) -> None:
    assert open_header(sealed(), identities) == FILE_KEY


def test_another_identity_does_not_match() -> None:
    with pytest.raises(NoMatchError, match="type X25519"):
        open_header(sealed(), [X25519Identity(b"\x33" * 32)])
    with pytest.raises(NoMatchError, match="none of the 0"):
        open_header(sealed(), [])


def test_split_gives_the_length_of_the_header() -> None:
    assert split_header(sealed()) == len(sealed())
    assert split_header(sealed() + b"---\n-> \n\x00") == len(sealed())


def test_detached_header_must_end_with_the_mac_line() -> None:
    with pytest.raises(HeaderError, match="3 bytes follow"):
        open_header(sealed() + b"abc", [IDENTITY])


@pytest.mark.parametrize("length", range(len(sealed())))
def test_header_cut_anywhere_is_truncated(length: int) -> None:
    with pytest.raises(TruncatedHeaderError):
        split_header(sealed()[:length])


def test_every_flipped_bit_is_refused() -> None:
    header = sealed()
    for position in range(len(header)):
        for bit in range(8):
            changed = bytearray(header)
            changed[position] ^= 1 << bit
            with pytest.raises((HeaderError, HeaderMacError, NoMatchError)):
                open_header(bytes(changed), [OTHER])


def test_removed_or_added_recipient_is_refused() -> None:
    lines = sealed().split(b"\n")
    with pytest.raises(HeaderMacError):
        open_header(b"\n".join(lines[:1] + lines[3:]), [OTHER])
    with pytest.raises(HeaderMacError):
        open_header(b"\n".join(lines[:3] + lines[1:]), [OTHER])
    with pytest.raises(HeaderMacError):
        open_header(b"\n".join(lines[:1] + lines[3:5] + lines[1:3] + lines[5:]), [OTHER])


@settings(deadline=None)
@given(st.lists(STANZAS, min_size=1, max_size=5))
def test_any_stanzas_are_written_and_parsed_back(stanzas: list[Stanza]) -> None:
    header = seal_header(FILE_KEY, [GivenStanzas(stanzas)])
    assert parse_header(header + b"payload").stanzas == tuple(stanzas)
    assume("scrypt" not in [stanza.kind for stanza in stanzas])
    assert open_header(header, [GivenFileKey(FILE_KEY)]) == FILE_KEY


@settings(deadline=None)
@given(st.lists(STANZAS, min_size=1, max_size=3), st.binary(max_size=20), st.data())
def test_any_cut_gives_the_same_header(stanzas: list[Stanza], rest: bytes, data: st.DataObject) -> None:
    file = seal_header(FILE_KEY, [GivenStanzas(stanzas)]) + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(file)), max_size=8)))
    parser = HeaderParser()
    for start, end in zip([0, *cuts], [*cuts, len(file)], strict=True):
        found = parser.feed(file[start:end])
        if found is not None:
            header, left = found
            assert header == parse_header(file)
            assert left + file[end:] == rest
            return
    pytest.fail("the parser found no header")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300), st.integers(0, 60))
def test_noise_is_refused_as_a_header_and_never_otherwise(noise: bytes, kept: int) -> None:
    with pytest.raises(AgeError) as caught:
        open_header(sealed()[:kept] + noise, [IDENTITY])
    assert isinstance(caught.value, HeaderError)


@pytest.mark.parametrize(
    ("start", "error"),
    [
        (b"X", HeaderError),
        (b"age-encryption.org/v2", UnsupportedVersionError),
        (b"age-encryption.org/v1\r\n", UnsupportedVersionError),
        (b"age-encryption.org/v1 ", UnsupportedVersionError),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\n", ArmoredFileError),
        (b"-----BEGIN PGP", HeaderError),
        (b"RIFF\xff\xff\xff\xffWAVE", HeaderError),
        (b"age-encryption.org/v1\n\n", HeaderError),
        (b"age-encryption.org/v1\n--- \n", HeaderError),
        (b"age-encryption.org/v1\n-> \n", HeaderError),
        (b"age-encryption.org/v1\n-> a  b\n", HeaderError),
        (b"age-encryption.org/v1\n-> a\xc3\xa9\n", HeaderError),
        (b"age-encryption.org/v1\n-> a\n!\n", HeaderError),
        (b"age-encryption.org/v1\n-> a\nA\n", HeaderError),
    ],
)
def test_what_cannot_become_a_header_is_refused_at_once(start: bytes, error: type[HeaderError]) -> None:
    with pytest.raises(HeaderError) as caught:
        HeaderParser().feed(start)
    assert type(caught.value) is error


@pytest.mark.parametrize("start", [b"", b"a", b"-", b"-----BEGIN AGE", b"age-encryption.org/v1"])
def test_what_may_still_become_a_header_is_waited_for(start: bytes) -> None:
    assert HeaderParser().feed(start) is None


def test_header_without_end_is_refused_at_the_bound() -> None:
    parser = HeaderParser(max_bytes=1000)
    assert parser.feed(b"age-encryption.org/v1\n-> a") is None
    with pytest.raises(HeaderError, match="longer than 1000 bytes"):
        parser.feed(b"a" * 1000)
    lines = HeaderParser(max_bytes=1000)
    with pytest.raises(HeaderError, match="longer than 1000 bytes"):
        lines.feed(b"age-encryption.org/v1\n" + b"-> a\nAA\n" * 200)


def test_whole_header_above_the_bound_is_refused() -> None:
    header = sealed()
    assert HeaderParser(max_bytes=len(header)).feed(header) is not None
    long = seal_header(FILE_KEY, [GivenStanzas([Stanza(("x",), bytes(48))] * 20)])
    with pytest.raises(HeaderError, match="longer than 1000 bytes"):
        HeaderParser(max_bytes=1000).feed(long)


def test_header_without_a_stanza_is_refused_whatever_its_mac() -> None:
    with pytest.raises(HeaderError, match="header line 2 carries the MAC, but no recipient stanza"):
        parse_header(b"age-encryption.org/v1\n--- " + b"A" * 43 + b"\n")


def test_messages_name_the_line() -> None:
    lines = sealed().split(b"\n")
    with pytest.raises(HeaderError, match="header line 4 must start a stanza"):
        parse_header(b"\n".join([*lines[:3], b"AAAA", *lines[3:]]))
    with pytest.raises(HeaderError, match="header line 5 is a stanza body line of 65 columns"):
        parse_header(b"\n".join([*lines[:4], b"A" * 65, *lines[4:]]))


def test_scrypt_stanza_must_stand_alone() -> None:
    scrypt = Stanza(("scrypt", "AAAAAAAAAAAAAAAAAAAAAA", "18"), bytes(32))
    with pytest.raises(NoMatchError, match="type scrypt"):
        open_header(seal_header(FILE_KEY, [GivenStanzas([scrypt])]), [IDENTITY])
    with pytest.raises(HeaderError, match="mixes an scrypt stanza"):
        open_header(seal_header(FILE_KEY, [GivenStanzas([scrypt]), IDENTITY.recipient]), [IDENTITY])


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one recipient"):
        seal_header(FILE_KEY, [])
    with pytest.raises(ValueError, match="16 bytes, not 15"):
        seal_header(FILE_KEY[:15], [IDENTITY.recipient])
    with pytest.raises(ValueError, match="must not be mixed"):
        seal_header(FILE_KEY, [IDENTITY.recipient, HybridIdentity(bytes(32)).recipient])
    with pytest.raises(ValueError, match="gave 31 bytes when asked for 32"):
        seal_header(FILE_KEY, [IDENTITY.recipient], lambda length: bytes(length - 1))
    with pytest.raises(ValueError, match="16 bytes, not 17"):
        open_header(sealed(), [GivenFileKey(bytes(17))])


@pytest.mark.parametrize("arguments", [(), ("",), ("a", ""), ("a b",), ("a\n",), ("é",)])
def test_stanza_arguments_that_cannot_be_written_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        Stanza(arguments, b"").serialise()


@given(st.binary(max_size=100))
def test_base64_round_trip(data: bytes) -> None:
    assert decode_base64(encode_base64(data)) == data


@given(st.binary(max_size=12))
def test_base64_that_decodes_is_canonical(encoded: bytes) -> None:
    try:
        decoded = decode_base64(encoded)
    except ValueError:
        return
    assert encode_base64(decoded) == encoded
