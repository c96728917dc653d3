"""Key files: what is read, and refusals that name the line and never show a secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.age import (
    AgeError,
    HybridIdentity,
    IdentityError,
    KeyFormatError,
    RecipientError,
    SecretInRecipientsError,
    X25519Identity,
    parse_identities,
    parse_identity,
    parse_recipient,
    parse_recipients,
)

FIRST, SECOND = X25519Identity(b"\x11" * 32), X25519Identity(b"\x22" * 32)
HYBRID = HybridIdentity(b"\x33" * 32)


def test_recipients_file_with_comments_and_blank_lines() -> None:
    text = f"# archive\n\n{FIRST.recipient}\r\n   \n# board\n  {SECOND.recipient}  \n{FIRST.recipient}"
    assert parse_recipients(text) == (FIRST.recipient, SECOND.recipient)


def test_identity_file_as_age_keygen_writes_it() -> None:
    text = f"# created: 2024-05-01T12:00:00Z\n# public key: {FIRST.recipient}\n{FIRST.secret_text()}\n"
    assert parse_identities(text) == (FIRST,)
    assert parse_identities(text + SECOND.secret_text()) == (FIRST, SECOND)


def test_post_quantum_keys_are_read() -> None:
    assert parse_recipients(str(HYBRID.recipient)) == (HYBRID.recipient,)
    assert parse_identities(HYBRID.secret_text()) == (HYBRID,)


@pytest.mark.parametrize(
    "secret", [FIRST.secret_text(), FIRST.secret_text().lower(), HYBRID.secret_text(), "AGE-PLUGIN-X-1Q"]
)
def test_secret_key_among_recipients_is_named_and_not_shown(secret: str) -> None:
    with pytest.raises(
        SecretInRecipientsError, match=r"keys\.txt, line 3: this is a secret key.*age1"
    ) as caught:
        parse_recipients(f"# ours\n\n{secret}\n", "keys.txt")
    assert secret[20:40] not in str(caught.value) or not secret[20:40]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (str(FIRST.recipient)[:-1], "line 2: .*checksum"),
        (str(FIRST.recipient).upper(), 'line 2: .*"age1" in lower case'),
        (f"{FIRST.recipient} archive", "line 2: .*space"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "line 2: .*SSH keys are not supported"),
        ("age1yubikey1qwerty", 'line 2: .*"age1yubikey1…" are not supported'),
        ("age1tag1qwerty", 'line 2: .*"age1tag1…" are not supported'),
        ("archive@example.org", "line 2: not an age recipient"),
        ("age1pq1qqqq", "line 2: "),
    ],
)
def test_line_that_is_no_recipient_is_named(line: str, reason: str) -> None:
    with pytest.raises(RecipientError, match=reason):
        parse_recipients(f"{FIRST.recipient}\n{line}\n{SECOND.recipient}\n", "recipients.txt")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_file_without_a_key_is_refused(text: str) -> None:
    with pytest.raises(RecipientError, match="holds no recipient; make a key pair"):
        parse_recipients(text)
    with pytest.raises(IdentityError, match="holds no identity"):
        parse_identities(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"# a\n{FIRST.recipient}\n", "line 2: this is a recipient"),
        (f"{FIRST.secret_text()[:-1]}\n", "line 1: .*checksum"),
        (f"{FIRST.secret_text().lower()}\n", "line 1: not an age identity"),
        ("AGE-PLUGIN-YUBIKEY-1QQQ\n", "line 1: .*plugins are not supported"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n", "line 1: not an age identity"),
        ("age-encryption.org/v1\n-> scrypt x 18\n", "is itself encrypted"),
        ("-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n", "is itself encrypted"),
    ],
)
def test_identity_file_that_is_wrong_is_refused_and_not_shown(text: str, reason: str) -> None:
    with pytest.raises(IdentityError, match=reason) as caught:
        parse_identities(text, "key.txt")
    assert FIRST.secret_text()[17:30].lower() not in str(caught.value).lower()


def test_single_keys_are_read_and_refused() -> None:
    assert parse_recipient(str(FIRST.recipient)) == FIRST.recipient
    assert parse_identity(FIRST.secret_text()) == FIRST
    with pytest.raises(KeyFormatError):
        parse_recipient(FIRST.secret_text())
    with pytest.raises(KeyFormatError):
        parse_identity(str(FIRST.recipient))


@given(st.text(max_size=120))
def test_any_text_is_refused_as_a_key_format_error(text: str) -> None:
    for parse in (parse_recipients, parse_identities):
        with pytest.raises(AgeError) as caught:
            parse(text)
        assert isinstance(caught.value, KeyFormatError)
