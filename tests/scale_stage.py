"""Two recproxies behind one Kamailio: one catalogue, one bucket, keys and chains for each.

The files are those of ``etc/examples/kamailio-front``; each node has addresses, a name, a
data directory and a signing key of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import rig as rigs
import sdp_bodies
from daemon import Daemon, Settings
from listening import unmistakable
from pbx_peers import Kamailio
from pbx_stage import EXAMPLES, addresses_of, placed, wire
from postgres import PASSWORD, Postgres
from rig import CALLER_NUMBER, NUMBER, Call, Rig
from s3_stage import S3Server

EXAMPLE = EXAMPLES / "kamailio-front"
NAMES = ("rec1", "rec2")
_TRIES = 40


@dataclass(slots=True)
class Fleet:
    """Everybody.

    Attributes:
        sides: The two nodes, each with the two telephones that all share.
        kamailio: Before them.
    """

    sides: tuple[Rig, Rig]
    kamailio: Kamailio
    _seeds: Iterator[int]

    def dial(self) -> tuple[Rig, Call]:
        """A call by way of Kamailio, answered; both parties speak. Returns the node that has it, too."""
        first = self.sides[0]
        left, right = first.peer(first.caller.address), first.peer(first.callee.address)
        marks = [side.daemon.mark for side in self.sides]
        offer = sdp_bodies.audio(left.address, left.port)
        dialog = first.caller.invite(NUMBER, self.kamailio.at, offer, caller=CALLER_NUMBER)
        taken = first.callee.next_call()
        contact = taken.invite.one("contact")
        side, mark = next(
            (side, mark)
            for side, mark in zip(self.sides, marks, strict=True)
            if f"{side.daemon.sip[0]}:" in contact or f"{side.daemon.sip[0]}>" in contact
        )
        taken.ring()
        taken.answer(sdp_bodies.audio(right.address, right.port))
        dialog.wait_answer()
        said = side.daemon.wait("call.answered", start=mark)
        seed = next(self._seeds)
        talks = (
            left.talk(unmistakable(60, seed), sdp_bodies.media_target(dialog.remote_sdp), ssrc=0x11110001),
            right.talk(
                unmistakable(60, seed + 1), sdp_bodies.media_target(taken.remote_sdp), ssrc=0x22220001
            ),
        )
        return side, Call(str(said["call_ref"]), dialog, taken, left, right, *talks)

    def dial_at(self, wanted: Rig) -> Call:
        """A call that Kamailio gives to this node; it goes by the Call-ID, so some may go elsewhere first."""
        for _ in range(_TRIES):
            side, call = self.dial()
            if side is wanted:
                return call
            call.hang_up()
        raise AssertionError(f"of {_TRIES} calls none came to {wanted.daemon.sip[0]}")

    def record(self, side: Rig, seconds: float = 1.0) -> str:
        """A call at a node that is recorded for so long, and hung up; returns the id of the recording."""
        call = self.dial_at(side)
        recording = side.recorded(call)
        side.talk_on(call, seconds)
        call.hang_up()
        side.sealed(call)
        return recording

    def wait_up(self, side: Rig, start: int) -> None:
        """Until Kamailio gives calls to a node."""
        self.kamailio.wait_said(f"{side.daemon.sip[0]}:5060 is up", start=start)

    def wait_down(self, side: Rig, start: int) -> None:
        """Until Kamailio gives no calls to a node."""
        self.kamailio.wait_said(f"{side.daemon.sip[0]}:5060 is down", start=start)

    def restart(self, side: Rig) -> None:
        """Stop a node and start it: Kamailio says that it is up only if it saw that it was down."""
        mark = self.kamailio.mark
        side.daemon.stop()
        self.wait_down(side, mark)
        mark = self.kamailio.mark
        side.daemon.start()
        self.wait_up(side, mark)


@contextlib.contextmanager
def fleet(
    directory: Path, prompts: Path, server: Postgres, store: S3Server, settings: Settings | None = None
) -> Iterator[Fleet]:
    """Two nodes, up and known to Kamailio.

    Args:
        directory: Of the test.
        prompts: Where announcements are kept.
        server: Holds the catalogue.
        store: Holds the bucket.
        settings: Of both daemons.
    """
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(rigs.rig(directory, prompts, settings))
        addresses = addresses_of(one)
        second = stack.enter_context(
            Daemon(
                directory / "rig2",
                replace(one.lease.addresses, daemon=addresses["192.0.2.2"]),
                prompts,
                settings or Settings(),
            )
        )
        sides = (one, replace(one, daemon=second))
        shared = _shared(directory, server, store)
        for name, side in zip(NAMES, sides, strict=True):
            _wire(side, name, addresses, shared, one.daemon)
        files: dict[str, str | bytes] = {}
        for name in ("kamailio.cfg", "dispatcher.list"):
            text = (EXAMPLE / name).read_text().replace("/etc/kamailio/", "/pbx/")
            files[name] = placed(text.replace('"ds_ping_interval", 10', '"ds_ping_interval", 1'), addresses)
        kamailio = stack.enter_context(
            Kamailio(directory / "kamailio", files, (addresses["192.0.2.5"], 5060))
        )
        kamailio.wait_ready()
        made = Fleet(sides, kamailio, iter(range(2, 10_000, 2)))
        for side in sides:
            made.wait_down(side, 0)
            side.daemon.start()
            made.wait_up(side, 0)
        yield made


def _shared(directory: Path, server: Postgres, store: S3Server) -> dict[str, Any]:
    """What is the same in ``storage`` of both nodes."""
    place = store.place("fleet/")
    password, credentials = directory / "catalogue.password", directory / "bucket.credentials"
    for path, text in ((password, PASSWORD), (credentials, f"{place.access_key}\n{place.secret_key}")):
        path.touch(mode=0o600)
        path.write_text(f"{text}\n")
    return {
        "catalogue": server.database(),
        "catalogue_password_file": str(password),
        "bucket": {
            "name": place.name,
            "region": place.region,
            "endpoint": place.endpoint,
            "prefix": place.prefix,
            "credentials_file": str(credentials),
        },
    }


def _wire(side: Rig, name: str, addresses: dict[str, str], shared: dict[str, Any], first: Daemon) -> None:
    """The configuration of one node: recipients and index of the fleet, a signing key of its own."""

    def change(document: dict[str, Any]) -> None:
        document["node"] = name
        document["storage"] |= shared | {
            "recipients": str(first.directory / "recipients.txt"),
            "index_key": str(first.directory / "index.key"),
        }

    wire(side, EXAMPLE / "recproxy.yaml", addresses | {"192.0.2.1": side.daemon.addresses.daemon}, change)
    side.daemon.identity = first.identity
