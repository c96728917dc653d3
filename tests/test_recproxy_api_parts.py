"""The parts of the HTTP API alone: tokens and their file, live calls, readiness, sockets, the command."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from api_stage import CALL
from command_line import recproxy
from hypothesis import given
from hypothesis import strategies as st
from recorded import make_shelf

from recproxy.api.live import LiveCalls, LiveRecording
from recproxy.api.readiness import Readiness, Unready
from recproxy.api.server import bind, tls_context
from recproxy.api.tokenfile import TokenFile
from recproxy.api.tokens import Role, digest_of, match, mint, parse_tokens, token_line
from recproxy.call.commands import Note
from recproxy.call.events import CallFacts, InviteReceived
from recproxy.config import ApiListen
from recproxy.errors import ConfigError
from storage.tags import Direction

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
INVITE = InviteReceived(
    CallFacts(
        trunk="carrier",
        direction=Direction.INBOUND,
        caller="+31612345678",
        callee="+31305550100",
        anonymous=False,
        sos=False,
        sip_call_id="a@carrier",
        received=NOW,
    ),
    None,
)


# -------------------------------------------------------------------- tokens
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.sampled_from(Role))
def test_a_token_is_let_in_by_its_line_and_no_other_is(one: bytes, other: bytes, role: Role) -> None:
    tokens = parse_tokens([token_line("ann", role, mint(one))])
    found = match(tokens, mint(one))
    assert found is not None
    assert (found.name, found.role) == ("ann", role)
    assert (match(tokens, mint(other)) is not None) is (one == other)
    assert mint(one) not in token_line("ann", role, mint(one))
    assert digest_of(mint(one)) not in repr(found)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ann operator", "line 1: not a name, a role and a hash"),
        ("ann chief " + "0" * 64, "line 1: the role is not one of admin, operator, auditor, privacy"),
        ("ann operator abc", "line 1: the third word is not a SHA-256"),
        ("-ann operator " + "0" * 64, "line 1: '-ann' is not a name"),
    ],
)
def test_a_wrong_line_is_named_and_its_hash_is_not(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_tokens([line])
    assert "0" * 64 not in str(caught.value)


def test_comments_and_empty_lines_are_left_out() -> None:
    assert (
        parse_tokens(["", "  # nobody", f"ann auditor {'0' * 64}  # for the audit"])[0].role is Role.AUDITOR
    )


@pytest.mark.parametrize("name", ["", "a b", "a\n", "é", "-a", "a" * 64])
def test_a_name_that_would_break_the_file_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        token_line(name, Role.ADMIN, mint(bytes(32)))


def test_the_file_is_read_anew_and_shuts_all_out_when_it_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    said: list[str] = []
    file = TokenFile(path, said.append)
    with pytest.raises(ConfigError, match="recproxy api token"):
        file.check()
    path.write_text(token_line("ann", Role.ADMIN, mint(bytes(32))))
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        file.check()
    path.chmod(0o600)
    file.check()
    assert [token.name for token in file.tokens()] == ["ann"]
    path.write_text("nonsense\n")
    assert file.tokens() == file.tokens() == ()
    assert said == [f"api.tokens: {path}: line 1: not a name, a role and a hash"]
    path.unlink()
    assert file.tokens() == ()
    assert len(said) == 2


def test_the_command_lets_in_and_prints_the_token_once(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "rig")
    arguments = ("--name", "ann", "--role", "auditor", "--config", shelf.config)
    refused = recproxy("api", "token", *arguments)
    assert (refused.code, "set api.tokens" in refused.err) == (1, True)
    shelf.config.write_text(shelf.config.read_text() + "api: {tokens: tokens}\n")
    done = recproxy("api", "token", *arguments)
    assert (done.code, done.err) == (0, "")
    path = shelf.root / "tokens"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert done.out.strip() not in path.read_text()
    found = match(parse_tokens(path.read_text().splitlines()), done.out.strip())
    assert found is not None
    assert (found.name, found.role) == ("ann", Role.AUDITOR)
    assert recproxy("api", "token", "--name", "a b", "--role", "admin", "--config", shelf.config).code == 2
    assert len(path.read_text().splitlines()) == 1


# ---------------------------------------------------------------- live calls
def noted(live: LiveCalls, event: str, **fields: Any) -> None:
    live.noted(CALL, Note(event, tuple(fields.items())))


def test_a_live_call_shows_masked_numbers_and_what_becomes_of_it() -> None:
    live = LiveCalls(lambda: NOW)
    live.posted(CALL, INVITE)
    (call,) = live.all()
    assert "•" in call.caller
    assert "•" in call.callee
    noted(live, "call.offered", decision="record", direction="inbound", purpose="training")
    noted(live, "call.answered", setup_s=1.0)
    noted(live, "recording.opened", recording="ab" * 16)
    seen = live.get(CALL)
    assert seen is not None
    assert (seen.purpose, seen.answered, seen.recording) == ("training", NOW, "ab" * 16)
    states = []
    for event in ("recording.paused", "recording.resumed", "recording.sealed"):
        noted(live, event)
        found = live.get(CALL)
        assert found is not None
        states.append(found.recording_state)
    assert states == [LiveRecording.PAUSED, LiveRecording.ON, LiveRecording.ENDED]
    noted(live, "call.ended")
    assert live.all() == ()
    noted(live, "recording.sealed")  # later than the end of the call: nobody asks any more


def test_a_pause_before_the_recording_is_open_stays_one() -> None:
    live = LiveCalls(lambda: NOW)
    live.posted(CALL, INVITE)
    noted(live, "recording.paused")
    noted(live, "recording.opened", recording="ab" * 16)
    found = live.wait(CALL, LiveRecording.PAUSED, 0)
    assert found is not None
    assert (found.recording_state, found.recording) == (LiveRecording.PAUSED, "ab" * 16)
    assert live.wait("cd" * 8, LiveRecording.PAUSED, 60) is None


# ----------------------------------------------------------------- readiness
def test_it_is_ready_once_nothing_stands_against_it() -> None:
    faults: list[str] = []
    readiness = Readiness(lambda: faults[0] if faults else None)
    assert [reason for reason, _ in readiness.reasons()] == [Unready.STARTING]
    readiness.clear(Unready.STARTING, Unready.POLICY_REJECTED)
    assert readiness.reasons() == ()
    faults.append("3 MiB of disk left")
    readiness.set(Unready.DRAINING, "stopping")
    assert dict(readiness.reasons()) == {Unready.DRAINING: "stopping", Unready.RECORDER: "3 MiB of disk left"}


# ------------------------------------------------------------------- sockets
def test_a_socket_left_by_an_earlier_run_is_taken_over_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen = ApiListen(unix=path, mode="0600")
    bind(listen).close()
    assert stat.S_ISSOCK(path.stat().st_mode)
    second = bind(listen)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second.close()
    path.unlink()
    path.write_text("precious")
    with pytest.raises(OSError, match="in use"):
        bind(listen)
    assert path.read_text() == "precious"


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    listen = ApiListen(address="::1", tls_certificate=certificate, tls_key=key)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="No such file"):
        tls_context(listen)
    key.write_text("nonsense")
    certificate.write_text("nonsense")
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        tls_context(listen)
    key.chmod(0o600)
    with pytest.raises(ConfigError, match="no certificate and key"):
        tls_context(listen)
    assert tls_context(ApiListen(unix=tmp_path / "s")) is None
    assert str(listen) == "https://[::1]:8443"
