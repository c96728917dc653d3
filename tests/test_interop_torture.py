"""Malformed SIP and SDP by the thousand against the daemon, while a call is recorded."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import sdp_bodies
import torture
from processes import resident_kib
from rig import NUMBER, Call, Rig
from sip_message import SipMessage
from torture import BUSY, SILENCE, Case

pytestmark = pytest.mark.interop

COUNT = 3000
ROUNDS = 6
GROWTH_MOST_KIB = 8 * 1024
PATIENCE_S = 20.0


@contextlib.contextmanager
def all_busy(rig: Rig) -> Iterator[None]:
    """The callee answers 486 to every call that reaches it."""
    over = threading.Event()

    def answer() -> None:
        while not over.is_set():
            with contextlib.suppress(AssertionError):  # none came meanwhile
                rig.callee.next_call(within_s=0.1).reject(BUSY, "Busy Here")

    busy = threading.Thread(target=answer, name="busy callee")
    busy.start()
    try:
        yield
    finally:
        over.set()
        busy.join()


class Sender:
    """Sends each case from its own port and keeps what comes back, by the mark of the case."""

    def __init__(self, rig: Rig, address: str) -> None:
        self._rig = rig
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, torture.PORT))
        self.address = address
        self.finals: dict[str, set[int]] = {}

    def send(self, case: Case) -> None:
        self._socket.sendto(case.data, self._rig.daemon.sip)

    def read(self) -> None:
        """Everything that has been read by the daemon is answered, as far as it is at once."""
        assert self._rig.caller.options(self._rig.daemon.sip).code == 200
        while select.select([self._socket], [], [], 0)[0]:
            self._take(self._socket.recv(65_535))

    def wait(self, cases: list[Case]) -> None:
        """Wait until each case that must be answered is.

        Raises:
            AssertionError: One is not.
        """
        deadline = time.monotonic() + PATIENCE_S
        while missing := [
            case for case in cases if SILENCE not in case.answers and case.mark not in self.finals
        ]:
            left = deadline - time.monotonic()
            assert left > 0, f"no answer to {[(case.section, case.what) for case in missing]}"
            if select.select([self._socket], [], [], left)[0]:
                self._take(self._socket.recv(65_535))
        self.read()

    def close(self) -> None:
        self._socket.close()

    def _take(self, data: bytes) -> None:
        message = SipMessage.parse(data)
        if not message.is_response or message.code < 200:
            return
        found = data.decode("utf-8", "replace").partition("torture-")[2]
        mark = f"torture-{found[:5]}" if found else ""
        self.finals.setdefault(mark, set()).add(message.code)
        if message.method == "INVITE":
            self._acknowledge(message)

    def _acknowledge(self, message: SipMessage) -> None:
        lines = [(name, message.one(name)) for name in ("Via", "From", "To", "Call-ID")]
        lines += [("CSeq", f"{message.cseq} ACK"), ("Max-Forwards", "70")]
        uri = f"sip:{NUMBER}@{self._rig.lease.addresses.daemon}"
        ack = SipMessage(f"ACK {uri} SIP/2.0", tuple(lines)).encode()
        self._socket.sendto(ack, self._rig.daemon.sip)


def _play(rig: Rig, address: str, wanted: Callable[[Case], tuple[int, ...]]) -> list[str]:
    """Send all cases from an address; returns what was answered otherwise than wanted."""
    cases = list(torture.cases(address, rig.lease.addresses))
    sender = Sender(rig, address)
    try:
        for case in cases:
            sender.send(case)
            sender.read()
        sender.wait([case for case in cases if SILENCE not in wanted(case)])
    finally:
        sender.close()
    wrong = []
    for case in cases:
        answers = sender.finals.get(case.mark, {SILENCE})
        if not answers <= set(wanted(case)):
            wrong.append(f"{case.section} {case.what}: {sorted(answers)}, not {wanted(case)}")
    return wrong


def test_the_torture_messages_of_the_rfcs_get_their_answers(standing: tuple[Rig, Call]) -> None:
    rig, _ = standing
    here = rig.lease.addresses
    cases = {case.mark: case for case in torture.cases(here.caller, here)}
    before = len(rig.callee.received)
    with all_busy(rig):
        wrong = _play(rig, here.caller, lambda case: case.answers)
    assert not wrong, "\n".join(wrong)
    reached = [message for message in rig.callee.received[before:] if message.method == "INVITE"]
    assert len(reached) >= 5
    for invite in reached:
        case = cases[invite.one(torture.MARK)]
        # An SDP that the media engine refuses may have gone on already: that call is cancelled.
        assert {BUSY, 488} & set(case.answers), f"{case.section} {case.what} reached the callee"
        user = (
            case.user or NUMBER
        ).lower()  # the digits of an escape have no case (RFC 3986, section 6.2.2.1)
        assert invite.uri.lower().startswith((f"sip:{user}@", f"tel:{user}")), (case.section, invite.uri)
        assert not invite.all("route")
        assert "?" not in invite.uri


def test_no_torture_message_of_a_stranger_goes_anywhere(standing: tuple[Rig, Call]) -> None:
    rig, _ = standing
    before = len(rig.callee.received)
    wrong = _play(rig, rig.lease.addresses.foreign, lambda _: (403, SILENCE))
    assert not wrong, "\n".join(wrong)
    assert len(rig.callee.received) == before


@pytest.mark.parametrize("reason", [torture.UTF8_REASON, ""])
def test_a_reason_phrase_of_any_kind_passes(standing: tuple[Rig, Call], reason: str) -> None:
    rig, _ = standing
    dialog = rig.caller.invite(NUMBER, rig.daemon.sip, sdp_bodies.audio(rig.caller.address, 6000))
    rig.callee.next_call().reject(480, reason)
    assert dialog.wait_response(300).code == 480


def test_memory_stays_while_they_come_again_and_again(standing: tuple[Rig, Call]) -> None:
    rig, _ = standing
    here = rig.lease.addresses

    def storm(turn: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((here.caller, torture.PORT))
            for number in range(20):
                for case in torture.cases(here.caller, here):
                    if {BUSY, 415, 488} & set(case.answers):
                        continue  # a transaction, which is remembered for 32 s, is another matter
                    again = case.data.replace(b"torture-", f"again{turn}-{number}-".encode())
                    sock.sendto(again, rig.daemon.sip)
                assert rig.caller.options(rig.daemon.sip).code in {200, 503}

    with all_busy(rig):
        storm(0)
        storm(1)
        warm = resident_kib(rig.daemon.pid)
        for turn in range(2, 2 + ROUNDS):
            storm(turn)
        grown = resident_kib(rig.daemon.pid) - warm
    print(f"grown by {grown} KiB")
    assert grown < GROWTH_MOST_KIB


# ---- mutations

HEAD = "INVITE sip:{n}@{d} SIP/2.0\r\nVia: SIP/2.0/UDP {0}:5070;branch=z9hG4bK{1}\r\n"
REST = (
    "From: <sip:a@{0}>;tag={1}\r\nTo: <sip:b@{d}>\r\nCall-ID: t{1}@{0}\r\n"
    "Max-Forwards: 70\r\nContact: <sip:a@{0}:5070>\r\nCSeq: 1 INVITE\r\n"
)


def _filled(text: str, source: str, serial: int, daemon: str) -> bytes:
    for mark, value in (("{0}", source), ("{1}", str(serial)), ("{n}", NUMBER), ("{d}", daemon)):
        text = text.replace(mark, value)
    return text.encode()


def _mutated(chance: random.Random, source: str, daemon: str) -> Iterator[bytes]:
    offer = sdp_bodies.audio(source, 6000)
    whole = HEAD + REST + "Content-Type: application/sdp\r\n" + f"Content-Length: {len(offer)}\r\n\r\n"
    for serial in range(COUNT):
        data = bytearray(_filled(whole, source, serial, daemon) + offer)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randint(1, 40)]
                case 2:
                    data[at:at] = data[at : at + chance.randint(1, 200)] * chance.randint(1, 20)
                case _:
                    data[at:at] = chance.choice(
                        [b"\r\n", b"\0", b'"', b"<", b"%00", b",", b";", b"a=crypto:1 "]
                    )
        yield bytes(data[:60_000])


def test_mutations_end_no_call_and_lose_no_packet(standing: tuple[Rig, Call]) -> None:
    rig, _ = standing
    here = rig.lease.addresses
    chance = random.Random(4475)
    for source in (here.caller, here.foreign):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((source, torture.PORT))
            for turn, data in enumerate(_mutated(chance, source, here.daemon)):
                sock.sendto(data, rig.daemon.sip)
                if turn % 50 == 0:
                    # An answer to this says that what came before was read.
                    assert rig.caller.options(rig.daemon.sip).code in {200, 503}
    assert rig.daemon.alive
    strangers = [message for message in rig.callee.received if f"@{here.foreign}" in message.one("from")]
    assert strangers == []
