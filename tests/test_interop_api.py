"""The HTTP API of a running daemon, around a real call."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
import sdp_bodies
import yaml
from certificates import Authority
from daemon import Purpose, Settings, age_decrypt, eventually
from policies import policy_text
from prometheus_client.parser import text_string_to_metric_families
from rig import CALLER_NUMBER, NUMBER, Rig

pytestmark = pytest.mark.interop

PORT = 8443
PAUSABLE = Purpose(more={"pause": {"on_hold": True, "payment": {"api": True, "max": "PT3M"}}})
CODECS = (sdp_bodies.PCMU, sdp_bodies.TELEPHONE_EVENT)


class Person:
    """Somebody with a token."""

    def __init__(self, rig: Rig, name: str, role: str) -> None:
        self.secret = rig.daemon.cli("api", "token", "--name", name, "--role", role).stdout.strip()
        self._client = httpx.Client(
            base_url=f"http://{rig.daemon.addresses.daemon}:{PORT}",
            headers={"Authorization": f"Bearer {self.secret}"},
            timeout=30,
        )

    def get(self, path: str, **query: str) -> Any:
        """Ask; the answer must be a good one."""
        got = self._client.get(path, params=query)
        assert got.status_code == 200, got.text
        return got.json() if got.headers["content-type"] == "application/json" else got

    def post(self, path: str, body: Any = None) -> httpx.Response:
        """Do something."""
        return self._client.post(path, json=body)

    def close(self) -> None:
        """Hang up."""
        self._client.close()


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    made = make_rig(Settings({"training": PAUSABLE}))
    listen = {"address": made.daemon.addresses.daemon, "port": PORT, "plain": True}
    made.daemon.change(api=(listen,), drain="PT20S")
    return made


@pytest.fixture
def enter(rig: Rig) -> Iterator[Callable[[str, str], Person]]:
    people: list[Person] = []

    def made(name: str, role: str) -> Person:
        people.append(Person(rig, name, role))
        return people[-1]

    yield made
    for person in people:
        person.close()


def figures(person: Person) -> Mapping[str, float]:
    """All that is measured, by name and labels."""
    text = person.get("/metrics").text
    return {
        sample.name + "".join(f",{key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_program_names_what_a_call_is_for_while_it_goes_on(
    rig: Rig, enter: Callable[[str, str], Person]
) -> None:
    operator, privacy = enter("till", "operator"), enter("coach1", "privacy")
    policy = yaml.safe_load(rig.daemon.policy.read_text())
    policy["purposes"]["training"]["selection"] |= {"topic": True, "topic_api": True}
    rig.daemon.policy.write_text(policy_text(policy))
    rig.daemon.start()
    call = rig.dial(codecs=CODECS)
    rig.talk_on(call, 1.0)
    where, asked = f"/v1/calls/{call.ref}/purpose", {"purpose": "training"}
    assert privacy.post(where, asked).status_code == 403
    assert operator.post(where, {"purpose": "other"}).status_code == 403
    assert rig.daemon.said("notice.started") == []
    named = operator.post(where, asked)
    assert (named.status_code, named.json()["purpose"]) == (200, "training"), named.text
    told = rig.daemon.wait("notice.completed", call_ref=call.ref)
    opened = rig.daemon.wait("recording.opened", call_ref=call.ref)
    assert opened.index > told.index
    again = operator.post(where, asked)
    assert again.status_code == 409, again.text
    rig.talk_on(call, 1.0)
    call.hang_up()
    rig.sealed(call)
    ended = rig.daemon.wait("call.ended", call_ref=call.ref)
    assert (ended["decision"], ended["purpose"]) == ("record", "training")
    shown = operator.get(f"/v1/recordings/{opened.recording}")
    assert shown["notice"]["completed"] <= shown["started"]


def test_a_call_is_seen_paused_found_and_given_out_and_nothing_leaks(
    rig: Rig, enter: Callable[[str, str], Person]
) -> None:
    operator, privacy = enter("till", "operator"), enter("coach1", "privacy")
    rig.daemon.start()
    assert rig.daemon.said("api.opened")[0]["count"] == 1
    assert operator.get("/health/ready") == {"ready": True, "reasons": []}
    call = rig.dial(codecs=CODECS)
    recording = rig.recorded(call)
    (seen,) = operator.get("/v1/calls")["calls"]
    assert {name: seen[name] for name in ("ref", "purpose", "recording", "recording_state", "pausable")} == {
        "ref": call.ref,
        "purpose": "training",
        "recording": recording,
        "recording_state": "on",
        "pausable": True,
    }
    assert "•" in seen["caller"]
    assert "•" in seen["callee"]
    assert figures(operator)["recproxy_active_calls"] == 1

    rig.talk_on(call, 1.0)
    paused = operator.post(f"/v1/calls/{call.ref}/pause")
    assert (paused.status_code, paused.json()["recording_state"]) == (200, "paused"), paused.text
    rig.talk_on(call, 0.1)  # what was under way when the pause came
    quiet_from = len(call.left_talk.sent)
    rig.talk_on(call, 1.5)
    quiet_to = len(call.left_talk.sent)
    resumed = operator.post(f"/v1/calls/{call.ref}/resume")
    assert (resumed.status_code, resumed.json()["recording_state"]) == (200, "on"), resumed.text
    rig.talk_on(call, 1.0)
    call.hang_up()
    assert rig.sealed(call)["paused_ms"] >= 1500
    rig.daemon.wait("media.released", call_ref=call.ref)
    eventually(lambda: operator.get("/v1/calls") == {"calls": []}, within_s=10, what="no call any more")
    assert operator.post(f"/v1/calls/{call.ref}/pause").status_code == 404

    counted = figures(operator)
    assert counted["recproxy_calls_total,outcome=answered"] == 1
    assert counted["recproxy_recordings_total,purpose=training,result=ok"] == 1
    assert counted["recproxy_pauses_total"] == 1
    assert counted["recproxy_kept_recordings,state=sealed"] == 1
    assert counted["recproxy_relayed_packets_total"] > 100
    assert counted["recproxy_ready"] == 1
    assert 0 <= counted["recproxy_log_sync_age_seconds"] < 5

    assert [one["id"] for one in privacy.get("/v1/recordings")["recordings"]] == [recording]
    found = privacy.post("/v1/recordings/search", {"number": CALLER_NUMBER})
    assert [one["id"] for one in found.json()["recordings"]] == [recording]
    given = privacy.get(f"/v1/recordings/{recording}/file", use="training")
    wave = age_decrypt(given.content, rig.daemon.identity)
    assert wave[:4] == b"RIFF"
    said = rig.wave(recording).channel(0)
    secret = call.left_talk.sent[quiet_from:quiet_to]
    assert len(secret) > 8000
    for at in range(0, len(secret) - 160, 160):
        assert secret[at : at + 160] not in said

    chain = privacy.get("/v1/audit", limit="500")["lines"]
    by = {line["event"]: line["actor"] for line in chain}
    assert by["pause.asked"] == by["resume.asked"] == "token:till"
    assert by["playback.opened"] == by["number.searched"] == "token:coach1"
    assert privacy.get("/v1/audit/verification")["sound"] is True
    rig.daemon.stop()
    _nothing_leaked(rig, operator, privacy)


def _nothing_leaked(rig: Rig, *people: Person) -> None:
    texts = {"log": rig.daemon.everything_said}
    texts |= {path.name: path.read_bytes().decode("latin-1") for path in rig.daemon.files()}
    texts["tokens"] = (rig.daemon.directory / "tokens").read_text()
    for where, text in texts.items():
        for person in people:
            assert person.secret not in text, where
        for number in (NUMBER, CALLER_NUMBER):
            assert number[3:] not in text, where


def test_it_is_not_ready_while_it_drains_or_after_a_bad_reload(
    rig: Rig, enter: Callable[[str, str], Person]
) -> None:
    admin = enter("admin", "admin")
    rig.daemon.start()
    policy = rig.daemon.policy.read_text()
    rig.daemon.policy.write_text("version: 1\n")
    rig.daemon.signal(signal.SIGHUP)
    rig.daemon.wait("policy.rejected")
    assert _reasons(admin) == ["policy_rejected"]
    rig.daemon.policy.write_text(policy)
    mark = rig.daemon.mark
    rig.daemon.signal(signal.SIGHUP)
    rig.daemon.wait("policy.loaded", start=mark)
    assert _reasons(admin) == []
    call = rig.dial(codecs=CODECS)
    rig.recorded(call)
    rig.daemon.signal(signal.SIGTERM)
    rig.daemon.wait("daemon.draining")
    assert _reasons(admin) == ["draining"]
    call.hang_up()
    rig.daemon.wait("daemon.stopped")


def _reasons(person: Person) -> list[str]:
    got = person._client.get("/health/ready")
    told = [one["reason"] for one in got.json()["reasons"]]
    assert got.status_code == (503 if told else 200)
    return told


def test_a_token_is_let_in_and_taken_back_while_it_runs(
    rig: Rig, enter: Callable[[str, str], Person]
) -> None:
    first = enter("first", "auditor")
    rig.daemon.start()
    second = enter("second", "auditor")
    assert second.get("/v1/me")["name"] == "second"
    tokens = rig.daemon.directory / "tokens"
    tokens.write_text("".join(line for line in tokens.read_text().splitlines(True) if "first" not in line))
    assert first._client.get("/v1/me").status_code == 401
    assert second.get("/v1/me")["name"] == "second"
    tokens.chmod(0o644)
    tokens.write_text(tokens.read_text() + "\n")
    assert second._client.get("/v1/me").status_code == 401
    assert "chmod 600" in rig.daemon.wait("api.failed")["why"]


def test_a_socket_that_is_taken_is_told_and_calls_go_on(
    rig: Rig, enter: Callable[[str, str], Person]
) -> None:
    enter("admin", "admin")
    with socket.create_server((rig.daemon.addresses.daemon, PORT)):
        rig.daemon.start()
        assert "in use" in rig.daemon.said("api.failed")[0]["why"]
        call = rig.dial(codecs=CODECS)
        rig.recorded(call)
        call.hang_up()
        rig.sealed(call)


def test_a_wrong_configuration_of_it_ends_the_start(rig: Rig) -> None:
    process = rig.daemon.launch()
    assert process.wait(within_s=30) == 78
    assert 'make it with "recproxy api token"' in "\n".join(process.errors)


def test_it_speaks_tls_and_on_a_unix_socket(
    rig: Rig, enter: Callable[[str, str], Person], tmp_path: Path
) -> None:
    person = enter("admin", "admin")
    here = rig.daemon.addresses.daemon
    authority = Authority(tmp_path)
    issued = authority.issue(here)
    issued.key.chmod(0o600)
    path = Path("/tmp") / f"recproxy-{rig.daemon.addresses.daemon}.sock"
    rig.daemon.change(
        api=(
            {
                "address": here,
                "port": PORT,
                "tls_certificate": str(issued.certificate),
                "tls_key": str(issued.key),
            },
            {"unix": str(path), "mode": "0660"},
        )
    )
    rig.daemon.start()
    shown = {"Authorization": f"Bearer {person.secret}"}
    with httpx.Client(verify=authority.client()) as client:
        assert client.get(f"https://{here}:{PORT}/v1/me", headers=shown).json()["name"] == "admin"
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://recproxy/v1/me", headers=shown).json()["name"] == "admin"
    assert path.stat().st_mode & 0o777 == 0o660
    rig.daemon.stop()
    assert not path.exists()


def test_a_renewed_certificate_is_shown_from_a_reload_on_and_a_wrong_one_never(
    rig: Rig, enter: Callable[[str, str], Person], tmp_path: Path
) -> None:
    person = enter("admin", "admin")
    here = rig.daemon.addresses.daemon
    authority = Authority(tmp_path)
    issued = authority.issue(here)
    files = {"tls_certificate": str(issued.certificate), "tls_key": str(issued.key)}
    rig.daemon.change(api=({"address": here, "port": PORT, **files},))
    rig.daemon.start()
    old = HTTPSConnection(here, PORT, context=authority.client(), timeout=10)
    assert _asked(old, person) == 200
    shown = old.sock.getpeercert(binary_form=True)
    assert shown == _shown(here, authority)

    right = issued.key.read_bytes()
    issued.key.write_bytes(authority.issue("127.9.9.9").key.read_bytes())
    mark = rig.daemon.mark
    rig.daemon.signal(signal.SIGHUP)
    assert "is not the key of" in rig.daemon.wait("config.rejected", start=mark)["why"]
    assert _shown(here, authority) == shown, "a wrong pair changes nothing"
    issued.key.write_bytes(right)

    authority.issue(here)  # in the place of the first
    mark = rig.daemon.mark
    rig.daemon.signal(signal.SIGHUP)
    assert rig.daemon.wait("certificate.renewed", start=mark)["transport"] == f"api:{here}:{PORT}"
    rig.daemon.wait("policy.loaded", start=mark)
    assert _shown(here, authority) != shown
    assert _asked(old, person) == 200, "who was connected stays so"
    assert old.sock.getpeercert(binary_form=True) == shown
    old.close()
    mark = rig.daemon.mark
    rig.daemon.signal(signal.SIGHUP)
    rig.daemon.wait("policy.loaded", start=mark)
    assert len(rig.daemon.said("certificate.renewed")) == 1, "nothing was renewed"


def _asked(connection: HTTPSConnection, person: Person) -> int:
    connection.request("GET", "/v1/me", headers={"Authorization": f"Bearer {person.secret}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _shown(address: str, authority: Authority) -> bytes | None:
    """The certificate that whoever connects now is shown; one of the authority's."""
    with (
        socket.create_connection((address, PORT), timeout=10) as plain,
        authority.client().wrap_socket(plain, server_hostname=address) as secure,
    ):
        return secure.getpeercert(binary_form=True)
