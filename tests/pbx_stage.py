"""recproxy between a provider of the test's own and a real PBX, from the files of ``etc/examples``.

The files are taken as they are; only the addresses of the documentation networks give
way to those of the test, and what is not wiring (storage, policy, announcements) is the
rig's own.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rig as rigs
import sdp_bodies
import yaml
from daemon import Said, Settings
from listening import RiffWave, unmistakable
from pbx_peers import Asterisk
from rig import CALLER_NUMBER, NUMBER, Rig
from rtp_peer import RtpPeer, Talk
from softphone import Dialog, Softphone

EXAMPLES = Path(__file__).parent.parent / "etc" / "examples"
PLAYED_S = 20.0
LAST_LINES = 150  # of each process, told with a failure: the INVITE with its SDP is among them

# Where the test's calls end in Asterisk, besides what the example's dialplan does.
DIALPLAN = """

[from-provider](+)
exten => echo,1,Answer()
 same => n,Echo()
exten => play,1,Answer()
 same => n,Playback(/pbx/sounds/speech)
exten => milliwatt,1,Answer()
 same => n,Milliwatt()
exten => busy,1,Hangup(17)
exten => early,1,Progress()
 same => n,Playback(/pbx/sounds/speech,noanswer)
exten => _away.,1,Answer()
 same => n,Wait(0.5)
 same => n,Transfer(PJSIP/sip:${EXTEN:4}@192.0.2.1:5060)
 same => n,Verbose(1,transfer was ${TRANSFERSTATUS})
 same => n,Wait(30)
exten => presses,1,Answer()
 same => n,Wait(4)
 same => n,SendDTMF(9)
 same => n,Wait(30)
exten => fax,1,Answer()
 same => n,ReceiveFAX(/pbx/run/fax.tif,f)
exten => reads,1,Answer()
 same => n,Read(PRESSED,,1,,1,20)
 same => n,Verbose(1,pressed was ${PRESSED})
 same => n,Wait(30)

; Where FreePBX sends what a trunk brings.
[from-pstn]
include => from-provider

[from-phones](+)
exten => brief,1,Dial(PJSIP/+31612345678@provider,2)
"""
# A telephone at the PBX.
TELEPHONE = """

[reception]
type=endpoint
transport=udp
context=from-phones
aors=reception
disallow=all
allow=alaw,ulaw,g722
direct_media=no

[reception]
type=aor
contact=sip:reception@192.0.2.20:5060

[reception]
type=identify
endpoint=reception
match=192.0.2.20
"""


@dataclass(frozen=True, slots=True)
class Speaking:
    """One party of a call that speaks and hears."""

    dialog: Dialog
    ear: RtpPeer
    talk: Talk


@dataclass(slots=True)
class Stage:
    """A rig, with an Asterisk at the callee's address.

    Attributes:
        rig: recproxy and the provider's user agent, ``rig.caller``.
        asterisk: The PBX.
        telephone: A telephone of the PBX.
        spoken: What Asterisk plays, µ-law and A-law alike.
    """

    rig: Rig
    asterisk: Asterisk
    telephone: Softphone
    spoken: bytes

    @property
    def provider(self) -> Softphone:
        """The provider's user agent."""
        return self.rig.caller

    def call_in(self, number: str, *, codec: tuple[str, str] = sdp_bodies.PCMU) -> Speaking:
        """A call from the provider, answered by Asterisk itself; the caller speaks at once."""
        ear = self.rig.peer(self.provider.address)
        offer = sdp_bodies.audio(ear.address, ear.port, codecs=(codec, sdp_bodies.TELEPHONE_EVENT))
        dialog = self.provider.invite(number, self.rig.daemon.sip, offer, caller=CALLER_NUMBER)
        dialog.wait_answer()
        return Speaking(dialog, ear, self.talk(ear, dialog, codec, 1))

    def to_telephone(self, *, codec: tuple[str, str] = sdp_bodies.PCMU) -> tuple[Speaking, Speaking]:
        """A call from the provider to the telephone behind Asterisk; both speak."""
        ear = self.rig.peer(self.provider.address)
        offer = sdp_bodies.audio(ear.address, ear.port, codecs=(codec, sdp_bodies.TELEPHONE_EVENT))
        dialog = self.provider.invite(NUMBER, self.rig.daemon.sip, offer, caller=CALLER_NUMBER)
        return self._picked_up(self.telephone, codec, dialog, ear)

    def from_telephone(
        self, number: str = CALLER_NUMBER, *, codec: tuple[str, str] = sdp_bodies.PCMU
    ) -> tuple[Speaking, Speaking]:
        """A call of the telephone by Asterisk to the provider, who answers; both speak."""
        ear = self.rig.peer(self.telephone.address)
        offer = sdp_bodies.audio(ear.address, ear.port, codecs=(codec, sdp_bodies.TELEPHONE_EVENT))
        dialog = self.telephone.invite(number, (self.pbx, 5060), offer, caller="reception")
        return self._picked_up(self.provider, codec, dialog, ear)

    def _picked_up(
        self, phone: Softphone, codec: tuple[str, str], dialog: Dialog, ear: RtpPeer
    ) -> tuple[Speaking, Speaking]:
        taken = phone.next_call()
        other = self.rig.peer(phone.address)
        taken.ring()
        taken.answer(sdp_bodies.audio(other.address, other.port, codecs=(codec, sdp_bodies.TELEPHONE_EVENT)))
        dialog.wait_answer()
        return (
            Speaking(dialog, ear, self.talk(ear, dialog, codec, 1)),
            Speaking(taken, other, self.talk(other, taken, codec, 2)),
        )

    @property
    def pbx(self) -> str:
        """Address of the PBX."""
        return self.rig.lease.addresses.callee

    def talk(self, ear: RtpPeer, dialog: Dialog, codec: tuple[str, str], seed: int) -> Talk:
        """Let a party speak from now on."""
        return ear.talk(
            unmistakable(60, seed),
            sdp_bodies.media_target(dialog.remote_sdp),
            payload_type=int(codec[0]),
            ssrc=0x11110000 + seed,
        )

    def recorded(self, start: int) -> Said:
        """Wait until a call that began after line ``start`` of the daemon is being recorded."""
        return self.rig.daemon.wait("recording.opened", start=start)

    def sealed(self, opened: Said) -> RiffWave:
        """Wait until a recording is closed, and open it."""
        self.rig.daemon.wait("recording.sealed", call_ref=opened["call_ref"])
        return self.rig.wave(opened.recording)


def placed(text: str, addresses: Mapping[str, str]) -> str:
    """A file with other addresses."""
    return re.sub(r"\b(?:\d{1,3}\.){3}\d{1,3}\b", lambda found: addresses.get(found[0], found[0]), text)


def _installed(path: Path) -> str:
    """An example's file for Asterisk, whose questions by UDP live until recproxy is there to answer."""
    text = path.read_text().replace("/etc/asterisk/", "/pbx/").replace("qualify_timeout=3\n", "")
    return text.replace("qualify_frequency=30\n", "qualify_frequency=30\nqualify_timeout=30\n")


def wire(
    rig: Rig,
    example: Path,
    addresses: Mapping[str, str],
    change: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Let the daemon have the wiring of an example, perhaps changed."""
    wanted = yaml.safe_load(placed(example.read_text(), addresses))
    document = yaml.safe_load(rig.daemon.config.read_text())
    for key in ("sip", "trunks", "media"):
        document[key] = wanted[key]
    document["sip"]["drain"] = "PT1S"
    if change is not None:
        change(document)
    rig.daemon.config.write_text(yaml.safe_dump(document))


def addresses_of(rig: Rig) -> dict[str, str]:
    """What stands for the addresses of the examples."""
    here = rig.lease.addresses
    net = here.daemon.rsplit(".", 1)[0]
    return {
        "192.0.2.1": here.daemon,
        "192.0.2.2": f"{net}.22",  # nobody
        "192.0.2.5": f"{net}.5",
        "203.0.113.1": here.caller,
        "192.0.2.10": here.callee,
        "192.0.2.11": f"{net}.21",  # nobody
        "192.0.2.20": f"{net}.20",
    }


@contextlib.contextmanager
def stage(
    directory: Path,
    prompts: Path,
    example: str = "asterisk",
    *,
    change: Callable[[dict[str, Any]], None] | None = None,
    pjsip: Callable[[str], str] = str,
    settings: Settings | None = None,
    files: Callable[[str], Mapping[str, str | bytes]] | None = None,
) -> Iterator[Stage]:
    """Everybody of an example with Asterisk, up and running.

    Args:
        directory: Of the test.
        prompts: Where announcements are kept.
        example: Directory under ``etc/examples``.
        change: Changes the daemon's configuration.
        pjsip: Changes Asterisk's ``pjsip.conf``, the telephone included.
        settings: Of the daemon.
        files: Makes further files of Asterisk, from the first three octets of all addresses.
    """
    with contextlib.ExitStack() as stack:
        rig = stack.enter_context(rigs.rig(directory, prompts, settings))
        rig.callee.close()  # its place is the PBX's
        addresses = addresses_of(rig)
        wire(rig, EXAMPLES / example / "recproxy.yaml", addresses, change)
        spoken = unmistakable(PLAYED_S, 77)
        written: dict[str, str | bytes] = {
            "pjsip.conf": placed(pjsip(_installed(EXAMPLES / example / "pjsip.conf") + TELEPHONE), addresses),
            "extensions.conf": placed(
                (EXAMPLES / "asterisk" / "extensions.conf").read_text() + DIALPLAN, addresses
            ),
            **{f"sounds/speech.{form}": spoken for form in ("ulaw", "alaw", "g722")},
            **{f"music/music.{form}": spoken for form in ("ulaw", "alaw", "g722")},
        }
        more = dict(files(addresses["192.0.2.1"].rsplit(".", 1)[0])) if files else {}
        asterisk = stack.enter_context(Asterisk(directory / "asterisk", written | more))
        telephone = stack.enter_context(Softphone(addresses["192.0.2.20"]))
        asterisk.wait_ready()
        rig.daemon.start()
        if "[provider]\ntype=aor" in str(written["pjsip.conf"]):
            # Asterisk asks first at a moment that it draws by lot. If that was before recproxy was
            # there, it would call nobody by this trunk for half a minute.
            asterisk.command("pjsip qualify provider")
            asterisk.wait_said("Contact provider/", "is now Reachable")
        try:
            yield Stage(rig, asterisk, telephone, spoken)
        except Exception as err:
            said = {"asterisk": asterisk.process.lines, "recproxy": rig.daemon.everything_said.splitlines()}
            for name, lines in said.items():
                err.add_note("\n".join((f"{name} said at last:", *lines[-LAST_LINES:])))
            raise
