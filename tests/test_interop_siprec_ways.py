"""Forks by TLS, by IPv6, with a password; many at once; and a daemon that dies in the middle of one."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import sdp_bodies
import yaml
from certificates import Authority
from daemon import Purpose, Settings
from digest_client import authorization
from listening import find_runs, read_wave, unmistakable
from loopback import free_port
from parties import eventually
from rig import Rig, compare
from rtp_peer import FRAME_SAMPLES, Talk, packet
from sip_message import SipMessage, inner_uri
from siprec_client import CALLEE, CALLER, SIPREC, TOLD, fork, forked, metadata, offer, targets
from siprec_stage import ASSERTED, begin, compared_after, fork_rig, said_for, speak
from softphone import Softphone

pytestmark = pytest.mark.interop

TLS_PORT = 5061
AT_ONCE = 50


@dataclass(slots=True)
class TlsClient:
    """A recording client's connection, one message after the other."""

    sock: ssl.SSLSocket
    got: bytes = b""

    def ask(self, method: str, uri: str, number: int, to: str, *body: tuple[str, bytes]) -> SipMessage | None:
        """Send a request; returns its final answer, or None for an ACK."""
        here = f"{self.sock.getsockname()[0]}:{self.sock.getsockname()[1]}"
        kind, content = body[0] if body else ("", b"")
        headers = (
            ("Via", f"SIP/2.0/TLS {here};branch=z9hG4bK{method}{number}"),
            ("Max-Forwards", "70"),
            ("From", f"<sips:src@{here}>;tag=src"),
            ("To", to),
            ("Call-ID", f"fork@{here}"),
            ("CSeq", f"{number} {method}"),
            ("Contact", f"<sip:src@{here};transport=tls>;+sip.src"),
            *((SIPREC, TOLD, ("Content-Type", kind)) if kind else ()),
        )
        self.sock.sendall(SipMessage(f"{method} {uri} SIP/2.0", headers, content).encode())
        answer = None
        while method != "ACK" and (answer is None or answer.code < 200):
            answer = self._next()
        return answer

    def _next(self) -> SipMessage:
        while b"\r\n\r\n" not in self.got:
            self.got += self._more()
        head, _, rest = self.got.partition(b"\r\n\r\n")
        length = int(SipMessage.parse(head + b"\r\n\r\n").one("content-length") or 0)
        while len(rest) < length:
            rest += self._more()
        self.got = rest[length:]
        return SipMessage.parse(head + b"\r\n\r\n" + rest[:length])

    def _more(self) -> bytes:
        data = self.sock.recv(65_535)
        assert data, "recproxy closed the connection"
        return data


def test_a_client_over_tls_has_to_show_its_certificate(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig)
    rig.daemon.stop()
    authority = Authority(rig.directory)
    here = rig.lease.addresses
    ours, theirs = authority.issue(here.daemon), authority.issue(here.caller)
    tls = {"certificate": str(ours.certificate), "key": str(ours.key), "ca": str(authority.path)}
    document = yaml.safe_load(rig.daemon.config.read_text())
    document["sip"]["listen"] = [
        {
            "transport": "tls",
            "address": here.daemon,
            "port": TLS_PORT,
            "tls": {**tls, "verify_client": True},
        }
    ]
    rig.daemon.config.write_text(yaml.safe_dump(document))
    rig.daemon.start()

    @contextlib.contextmanager
    def connected(context: ssl.SSLContext) -> Iterator[TlsClient]:
        with (
            socket.create_connection((here.daemon, TLS_PORT), 20, source_address=(here.caller, 0)) as plain,
            context.wrap_socket(plain) as sock,
        ):
            yield TlsClient(sock)

    with (
        pytest.raises((ssl.SSLError, ConnectionError, AssertionError)),
        connected(authority.client()) as nobody,
    ):
        nobody.ask("OPTIONS", f"sip:srs@{here.daemon}", 1, f"<sip:srs@{here.daemon}>")
    with connected(authority.client(theirs)) as client:
        _forks(rig, client)


def _forks(rig: Rig, client: TlsClient) -> None:
    here = rig.lease.addresses
    left, right = rig.peer(here.caller), rig.peer(here.caller)
    uri, to = f"sip:srs@{here.daemon}:{TLS_PORT};transport=tls", f"<sip:srs@{here.daemon}>"
    body = forked(offer(here.caller, (left.port, right.port)), metadata(CALLER, CALLEE))
    answer = client.ask("INVITE", uri, 1, to, body)
    assert answer is not None
    assert (answer.code, "transport=tls" in answer.one("contact").lower()) == (200, True)
    target = inner_uri(answer.one("contact"))
    client.ask("ACK", target, 1, answer.one("to"))
    recording = rig.daemon.wait("recording.opened").recording
    voices = [
        peer.talk(unmistakable(20.0, seed), place, ssrc=seed)
        for seed, (peer, place) in enumerate(zip((left, right), targets(answer.body), strict=True), 2)
    ]
    eventually(lambda: len(voices[1].sent), lambda sent: sent > 8000)
    gone = client.ask("BYE", target, 2, answer.one("to"))
    assert gone is not None
    assert gone.code == 200
    for voice in voices:
        voice.stop()
    rig.daemon.wait("recording.sealed", recording=recording)
    wave = read_wave(rig.daemon.open_with_age(recording))
    for side, voice in enumerate(voices):
        assert sum(run.samples for run in find_runs(wave.channel(side), voice.sent)) > 0.6 * 8000


def test_a_fork_over_ipv6_has_to_know_the_password(make_rig: Callable[..., Rig]) -> None:
    here = ("::1", free_port())
    listen = {"transport": "udp", "address": here[0], "port": here[1]}
    settings = Settings(purposes={"training": Purpose(more=ASSERTED)}, listen=(listen,), media=("::1",))
    with Softphone("::1", 0) as phone:
        rig = make_rig(settings)
        users = rig.directory / "users.txt"
        users.touch(mode=0o600)
        users.write_text("src:4711\n")
        document = yaml.safe_load(rig.daemon.config.read_text())
        document["trunks"] = {
            "sbc": {
                "peers": ["::1"],
                "siprec": True,
                "direction": "inbound",
                "latch": "address",
                "authenticate": {"realm": "example.org", "users_file": str(users)},
            }
        }
        rig.daemon.config.write_text(yaml.safe_dump(document))
        rig.daemon.start()
        left, right = rig.peer("::1"), rig.peer("::1")
        sdp = offer("::1", (left.port, right.port)).replace(b"IN IP4", b"IN IP6")
        to, document_sent = here, metadata(CALLER, CALLEE)
        asked = fork(phone, to, sdp, document_sent, TOLD)
        challenge = asked.wait_response(300)
        assert challenge.code == 407
        assert rig.daemon.said("call.offered") == []
        value = authorization(
            challenge.one("proxy-authenticate"), asked.invite.uri, user="src", spoken="4711"
        )
        dialog = fork(phone, to, sdp, document_sent, TOLD, ("Proxy-Authorization", value))
        dialog.wait_answer()
        assert {section.address for section in sdp_bodies.read(dialog.remote_sdp)} == {"::1"}
        ref = str(rig.daemon.wait("call.answered")["call_ref"])
        first, second = targets(dialog.remote_sdp)
        call = speak(rig, dialog, ref, left, right, (first, second), 1)
        recording = rig.recorded(call)
        compared = compared_after(rig, call, recording, 50)
        assert compared.left
        assert compared.right


def test_a_fork_in_whose_midst_the_daemon_is_killed_is_completed_at_the_next_start(
    make_rig: Callable[..., Rig],
) -> None:
    rig = fork_rig(make_rig)
    call = begin(rig, TOLD)
    recording = rig.recorded(call)
    said_for(call, 150)
    spoken = len(call.left_talk.sent)
    rig.daemon.kill()
    call.silence()
    rig.daemon.start()
    assert rig.daemon.wait("recording.recovered", recording=recording)["outcome"] == "sealed"
    compared = compare(call, read_wave(rig.daemon.open_with_age(recording)))
    for runs in (compared.left, compared.right):
        assert len(runs) == 1
        assert runs[0].sent + runs[0].samples > spoken - 8000, "at most a second is lacking"
    shown = rig.daemon.cli("recordings", "show", recording).stdout
    assert "training (nl) by the recording client" in shown
    assert rig.daemon.cli("audit", "verify").returncode == 0
    again = begin(rig, TOLD, seed=2)  # a client that forks the rest of the call
    rig.recorded(again)
    again.caller.bye()
    again.silence()
    rig.sealed(again)


def test_fifty_forks_at_once_are_kept_apart(make_rig: Callable[..., Rig]) -> None:
    rig = fork_rig(make_rig)
    peer = rig.peer(rig.caller.address)
    document, sdp = metadata(CALLER, CALLEE), offer(peer.address, (peer.port, peer.port))
    dialogs = [fork(rig.caller, rig.daemon.sip, sdp, document, TOLD) for _ in range(AT_ONCE)]
    for dialog in dialogs:
        dialog.wait_answer()
    places = [place for dialog in dialogs for place in targets(dialog.remote_sdp)]
    assert len(set(places)) == 2 * AT_ONCE
    voices = [unmistakable(1.5, 1 + at) for at in range(len(places))]
    eventually(lambda: len(rig.daemon.said("recording.opened")), lambda count: count == AT_ONCE)

    def send(index: int, _: bytes) -> None:
        for at, (voice, place) in enumerate(zip(voices, places, strict=True)):
            payload = voice[index * FRAME_SAMPLES : (index + 1) * FRAME_SAMPLES]
            peer.send(packet(payload, sequence=index, timestamp=index * FRAME_SAMPLES, ssrc=1 + at), place)

    Talk(voices[0], [(frame,) for frame in range(len(voices[0]) // FRAME_SAMPLES)]).run(send)
    for dialog in dialogs:
        dialog.bye()
    sealed = eventually(lambda: rig.daemon.said("recording.sealed"), lambda said: len(said) == AT_ONCE)
    assert [said["ring_dropped"] for said in sealed] == [0] * AT_ONCE
    whose: set[int] = set()
    for said in sealed:
        wave = read_wave(rig.daemon.open_with_age(said.recording))
        heard = [wave.channel(side) for side in (0, 1)]
        ours = [
            next(at for at, voice in enumerate(voices) if voice[4000:4064] in channel) for channel in heard
        ]
        assert (ours[0] % 2, ours[1]) == (0, ours[0] + 1), "the voices of one fork, each in its channel"
        assert all(find_runs(channel, voices[at]) for channel, at in zip(heard, ours, strict=True))
        whose.update(ours)
    assert len(whose) == 2 * AT_ONCE
