"""Digest authentication: the RFC's own example, and what is not let in."""

from __future__ import annotations

import pytest
from digest_client import authorization, field
from hypothesis import given
from hypothesis import strategies as st

from recproxy.errors import SipError
from recproxy.sip.authentication import Authentication, ChallengedError, DigestUsers, users_of
from recproxy.sip.digest import Algorithm, Credentials, Verdict, Verifier, digest
from recproxy.sip.headers import read_message
from recproxy.sip.message import Message
from recproxy.sip.uri import Uri

URI = "sip:0201234567@192.0.2.1"
USERS = DigestUsers("a.example", {"pbx": "open sesame"})
BOTH = (0, 1)


def asked(uri: str) -> bool:
    return uri == URI


@pytest.fixture
def verifier() -> Verifier:
    return Verifier(USERS.realm, USERS.users, b"k" * 32)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616_section_3_9_1(algorithm: str, response: str) -> None:
    credentials = Credentials.parse(
        'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", '
        f"algorithm={algorithm}, "
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
        'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, '
        f'response="{response}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    assert credentials is not None
    assert credentials.algorithm is Algorithm(algorithm)
    assert digest(credentials, "GET", "Circle of Life") == response


def test_the_stronger_algorithm_is_offered_first(verifier: Verifier) -> None:
    challenges = verifier.challenges(5.0)
    assert [field(one, "algorithm") for one in challenges] == ["SHA-256", "MD5"]
    assert {field(one, "qop") for one in challenges} == {"auth"}
    assert all("stale" not in one for one in challenges)


@pytest.mark.parametrize("which", BOTH)
def test_the_right_password_is_taken_once(verifier: Verifier, which: int) -> None:
    challenge = verifier.challenges(5.0)[which]
    value = authorization(challenge, URI)
    assert verifier.verify("INVITE", asked, [value], 6.0) is Verdict.ACCEPTED
    assert verifier.verify("INVITE", asked, [value], 6.0) is Verdict.WRONG
    again = authorization(challenge, URI, count=2)
    assert verifier.verify("INVITE", asked, [again], 6.0) is Verdict.ACCEPTED
    assert verifier.verify("INVITE", asked, [value], 6.0) is Verdict.WRONG


@pytest.mark.parametrize(
    "wrong",
    [
        {"spoken": "wrong"},
        {"user": "nobody"},
        {"user": "nobody", "spoken": ""},
        {"method": "BYE"},
    ],
)
def test_an_unknown_user_and_a_wrong_password_are_told_alike(
    verifier: Verifier, wrong: dict[str, str]
) -> None:
    value = authorization(verifier.challenges(5.0)[0], URI, **wrong)  # type: ignore[arg-type]
    assert verifier.verify("INVITE", asked, [value], 6.0) is Verdict.WRONG


def test_credentials_for_another_request_are_wrong(verifier: Verifier) -> None:
    value = authorization(verifier.challenges(5.0)[0], "sip:0900@192.0.2.1")
    assert verifier.verify("INVITE", asked, [value], 6.0) is Verdict.WRONG


def test_an_old_nonce_is_stale_only_with_the_right_password(verifier: Verifier) -> None:
    challenge = verifier.challenges(5.0)[0]
    assert verifier.verify("INVITE", asked, [authorization(challenge, URI)], 306.0) is Verdict.STALE
    wrong = authorization(challenge, URI, spoken="wrong")
    assert verifier.verify("INVITE", asked, [wrong], 306.0) is Verdict.WRONG


def test_a_nonce_of_another_key_or_realm_counts_as_no_answer(verifier: Verifier) -> None:
    for other in (
        Verifier(USERS.realm, USERS.users, b"x" * 32),
        Verifier("b.example", USERS.users, b"k" * 32),
    ):
        value = authorization(other.challenges(5.0)[0], URI)
        assert verifier.verify("INVITE", asked, [value], 6.0) is Verdict.ABSENT
        renamed = value.replace("b.example", "a.example")
        assert verifier.verify("INVITE", asked, [renamed], 6.0) is Verdict.ABSENT


def test_what_was_not_asked_for_is_no_answer(verifier: Verifier) -> None:
    value = authorization(verifier.challenges(5.0)[0], URI)
    for old, new in (
        ("qop=auth", "qop=auth-int"),
        (", qop=auth", ""),
        ("SHA-256", "SHA-256-sess"),
        ("nc=00000001", "nc=1"),
        ("Digest", "Basic"),
        ('username="pbx"', 'username="pbx", username="pbx"'),
        ('cnonce="0a4f113b", ', ""),
        ('realm="a.example"', 'realm="a.example'),
    ):
        assert old in value
        assert verifier.verify("INVITE", asked, [value.replace(old, new)], 6.0) is Verdict.ABSENT


@given(st.text(max_size=300))
def test_any_header_is_read_without_an_error(text: str) -> None:
    Credentials.parse(f"Digest {text}")
    Credentials.parse(text)


@given(st.text(max_size=40), st.binary(max_size=40))
def test_any_nonce_and_response_are_judged(nonce: str, response: bytes) -> None:
    verifier = Verifier(USERS.realm, USERS.users, b"k" * 32)
    quoted = nonce.replace("\\", "\\\\").replace('"', '\\"')
    value = (
        f'Digest username="pbx", realm="a.example", nonce="{quoted}", uri="{URI}", '
        f'response="{response.hex()}", algorithm=MD5, cnonce="c", qop=auth, nc=00000001'
    )
    assert verifier.verify("INVITE", asked, [value], 6.0) is Verdict.ABSENT


# ---- whole trunks


def invite(value: str = "") -> Message:
    extra = f"Proxy-Authorization: {value}\r\n" if value else ""
    return read_message(
        (f"INVITE {URI} SIP/2.0\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\n{extra}Content-Length: 0\r\n\r\n").encode()
    )


def check(gate: Authentication, now: float, value: str = "", host: str = "192.0.2.9") -> None:
    gate.check("pbx", host, invite(value), Uri.parse(URI), now)


@pytest.fixture
def gate() -> Authentication:
    made = Authentication(lambda count: b"r" * count)
    made.replace({"pbx": USERS})
    return made


def test_a_trunk_without_users_passes(gate: Authentication) -> None:
    gate.check("carrier", "192.0.2.9", invite(), Uri.parse(URI), 1.0)


def test_a_call_with_the_password_passes(gate: Authentication) -> None:
    with pytest.raises(ChallengedError) as challenged:
        check(gate, 1.0)
    assert challenged.value.code == 407
    check(gate, 1.0, authorization(challenged.value.challenges[0], URI))


def test_challenges_are_renewed_and_stay_good_over_a_reload(gate: Authentication) -> None:
    fresh = gate.fresh(1.0)
    assert fresh is not None
    assert gate.fresh(10.9) is None
    gate.replace({"pbx": USERS})
    check(gate, 12.0, authorization(fresh[0][0], URI))
    gate.replace({"pbx": DigestUsers("a.example", {"pbx": "new"})})
    with pytest.raises(ChallengedError):
        check(gate, 12.0, authorization(fresh[0][0], URI, count=2))


def test_wrong_passwords_lock_their_source_out_for_a_while(gate: Authentication) -> None:
    fresh = gate.fresh(1.0)
    assert fresh is not None
    for count in range(10):
        with pytest.raises(ChallengedError):
            check(gate, 1.0 + count, authorization(fresh[0][0], URI, spoken="guess", count=count + 1))
    assert gate.locked(11.0) == ("192.0.2.9",)
    assert gate.locked(12.0) is None
    right = authorization(fresh[0][0], URI, cnonce="other")
    with pytest.raises(SipError) as refused:
        check(gate, 12.0, right)
    assert refused.value.code == 403
    check(gate, 12.0, right, host="192.0.2.8")
    assert gate.locked(311.0) == ()


def test_who_forges_a_source_cannot_lock_it_out(gate: Authentication) -> None:
    foreign = Verifier(USERS.realm, USERS.users, b"x" * 32).challenges(1.0)[0]
    for count in range(30):
        with pytest.raises(ChallengedError):
            check(gate, 1.0, authorization(foreign, URI, spoken="guess", count=count + 1))
    assert gate.locked(2.0) is None


def test_failures_far_apart_lock_nobody_out(gate: Authentication) -> None:
    for count in range(30):
        fresh = gate.fresh(20.0 * count)
        assert fresh is not None
        with pytest.raises(ChallengedError):
            check(gate, 20.0 * count, authorization(fresh[0][0], URI, spoken="guess"))
    assert gate.locked(600.0) is None


def test_users_of_a_file() -> None:
    assert users_of(["# who\n", "\n", "pbx:a:b c\n", "x:y"]) == {"pbx": "a:b c", "x": "y"}
    for line in ("pbx\n", ":p\n", "pbx:\n"):
        with pytest.raises(ValueError, match="line 1"):
            users_of([line])
    with pytest.raises(ValueError, match="line 2"):
        users_of(["a:b\n", "a:c\n"])


def test_passwords_are_not_shown() -> None:
    assert "sesame" not in repr(USERS)
