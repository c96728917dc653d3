"""A data directory with recordings in it, made by the storage package from synthetic audio.

What a daemon leaves behind, without a daemon: configuration, keys, catalogue,
bodies and the audit chain, at instants that a test chooses.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from policies import policy_text, whole

from storage import (
    AudioFormat,
    AuditLog,
    Catalogue,
    ChannelFacts,
    Direction,
    Encoding,
    EpochShelf,
    LegalBasis,
    NoticeProof,
    NumberIndex,
    NumberTokens,
    OpenRequest,
    OsFiles,
    Parties,
    PurposeTerm,
    RecordingId,
    RecordingStore,
    RecordingTags,
    SealFacts,
    StorageError,
    generate_root_key,
    generate_signing_key,
    load_recipients,
    load_root_key,
    load_signing_key,
    sqlite_url,
)
from storage.age import Recipient, X25519Identity

START = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
CALLER, CALLEE = "+31612345678", "+31305550100"
RATE_HZ = 8_000
FORMAT = AudioFormat(Encoding.ULAW, RATE_HZ)

_CONFIG = """\
node: rig
policy: policy.yaml
sip:
  listen:
    - {transport: udp, address: 127.0.0.1, port: 5060}
  max_calls: 20
trunks:
  carrier:
    peers: [127.0.0.2]
    targets: sip:127.0.0.2:5060
    direction: inbound
    forward_to: pbx
  pbx:
    peers: [127.0.0.3]
    targets: sip:127.0.0.3:5060
    direction: outbound
    forward_to: carrier
media:
  address: 127.0.0.1
  ports: 20000-20099
storage:
  directory: data
  recipients: recipients.txt
  audit_key: audit.key
  index_key: index.key
announcer:
  directory: announcements
subjects:
  directory: cases
"""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A directory with a configuration and the data directory it names.

    Attributes:
        root: Holds ``recproxy.yaml``, ``policy.yaml`` and the keys.
        identity: Opens the recordings.
    """

    root: Path
    identity: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.root / "recproxy.yaml"

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.root / "data"

    def key(self, recording: str) -> Path:
        """Where the age header of a recording of one purpose is."""
        found = list((self.data / "keys").glob(f"{recording}.*"))
        assert len(found) <= 1, f"{len(found)} headers of {recording}"
        return found[0] if found else self.data / "keys" / recording

    def body(self, recording: str) -> Path:
        """Where the body of a recording is.

        Raises:
            AssertionError: Nowhere.
        """
        found = list((self.data / "recordings").rglob(f"{recording}.age"))
        assert len(found) == 1, f"{len(found)} bodies of {recording}"
        return found[0]


def copy_of(shelf: Shelf, root: Path) -> Shelf:
    """The same shelf at another place, for a test to spoil."""
    shutil.copytree(shelf.root, root)
    return Shelf(root, root / shelf.identity.name)


def make_shelf(root: Path) -> Shelf:
    """Write configuration, policy and keys; no recording and no catalogue yet."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    shelf = Shelf(root, root / "identity.txt")
    shelf.config.write_text(_CONFIG)
    (root / "policy.yaml").write_text(policy_text(whole()))
    identity = X25519Identity.generate()
    shelf.identity.write_text(f"{identity.secret_text()}\n")
    (root / "recipients.txt").write_text(f"{identity.recipient}\n")
    generate_signing_key(OsFiles(root), "audit")
    generate_root_key(OsFiles(root), "index.key")
    return shelf


@dataclass(frozen=True, slots=True)
class Take:
    """One recording to make.

    Attributes:
        number: Makes its id and its tones.
        started: When.
        seconds: Length.
        kept: Until its expiry, from the start.
        purpose: Why.
        end: ``seal``, ``abort``, ``discard`` or ``leave`` (open).
        caller: Who called.
        callee: Who was called.
        basis: On what ground.
        index: Whether the numbers find it.
        policy: Version of the policy it was made under.
        epoch: Day or month of the key group ``main`` whose key in ``epochs/`` it is wrapped to.
        further: Purposes that it serves too.
        findable: Purposes for which the numbers find it; none: for all.
    """

    number: int
    started: datetime = START
    seconds: float = 2.0
    kept: timedelta = timedelta(days=30)
    purpose: str = "training"
    end: str = "seal"
    caller: str = CALLER
    callee: str = CALLEE
    basis: LegalBasis = LegalBasis.LEGITIMATE_INTEREST
    index: bool = False
    policy: str = "7" * 64
    epoch: str = ""
    further: tuple[PurposeTerm, ...] = ()
    findable: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Its id; the first digits differ."""
        return f"{self.number:x}".ljust(4, "a") + f"{self.number:028x}"

    @property
    def audio(self) -> bytes:
        """µ-law frames: a tone on the left, another on the right."""
        frames = round(self.seconds * RATE_HZ)
        left, right = (_tone(frames, 40 + 7 * self.number + side) for side in (0, 3))
        woven = bytearray(2 * frames)
        woven[0::2], woven[1::2] = left, right
        return bytes(woven)


def record(shelf: Shelf, *takes: Take, clock: datetime | None = None) -> None:
    """Make recordings as the daemon does.

    Args:
        shelf: Where.
        takes: What.
        clock: The instant that the audit chain shows; the start of each take if None.
    """
    shown = [START]
    files = OsFiles(shelf.data)
    files.prepare()
    catalogue = Catalogue.open(files, sqlite_url(str(shelf.data / "catalogue.sqlite")))
    key = load_signing_key(OsFiles(shelf.root), "audit.key")
    recipients = load_recipients(OsFiles(shelf.root), "recipients.txt")
    store = RecordingStore(files, catalogue, AuditLog(files, key, "rig", lambda: shown[0]), recipients)
    index = NumberIndex(files, load_root_key(OsFiles(shelf.root), "index.key"))
    try:
        for take in takes:
            shown[0] = clock or take.started
            numbers = index.tokens((take.caller, take.callee), take.started) if take.index else None
            if numbers is not None:
                numbers = replace(numbers, purposes=take.findable)
            shelved = EpochShelf(OsFiles(shelf.root / "epochs"))
            _record(
                store, take, numbers, shelved.recipients("main", take.epoch) if take.epoch else recipients
            )
    finally:
        store.close()
        catalogue.close()


def _record(
    store: RecordingStore, take: Take, index: NumberTokens | None, recipients: Sequence[Recipient]
) -> None:
    parties = Parties(take.caller, take.callee, ("a@carrier", "b@pbx"))
    request = OpenRequest(
        _tags(take),
        parties,
        FORMAT,
        index,
        recipients={take.purpose: recipients},
        epochs={take.purpose: ("main", take.epoch)},
    )
    (writer,) = store.open_together([request], take.started)
    if isinstance(writer, StorageError):
        raise writer
    if take.end == "discard":
        writer.discard("announcement broken off", take.started)
        return
    writer.write(take.audio)
    store.sync()
    match take.end:
        case "seal":
            writer.seal(_facts(take))
        case "abort":
            writer.abort("disk full")
        case _:
            pass


def _tags(take: Take) -> RecordingTags:
    notice = NoticeProof(
        prompt=take.purpose,
        sha256="5" * 64,
        language="nl",
        heard_by=("caller", "callee"),
        started=take.started - timedelta(seconds=4),
        completed=take.started,
    )
    return RecordingTags(
        recording=RecordingId(take.id),
        call=f"{take.number:032x}",
        node="rig",
        purpose=take.purpose,
        legal_basis=take.basis,
        policy_version=take.policy,
        direction=Direction.INBOUND,
        trunk="carrier",
        started=take.started,
        expiry=take.started + take.kept,
        notice=notice,
        further=take.further,
    )


def _facts(take: Take) -> SealFacts:
    packets = round(take.seconds * 50)
    return SealFacts(
        ended=take.started + timedelta(seconds=take.seconds),
        frames=round(take.seconds * RATE_HZ),
        caller=ChannelFacts(packets=packets),
        callee=ChannelFacts(packets=packets - 1, lost=1, silence_samples=160),
        dropped_packets=0,
        paused=timedelta(0),
        reason="hangup",
    )


def _tone(frames: int, period: int) -> bytes:
    """A tone of ``period`` frames, as µ-law codes of either sign."""
    wave = (math.sin(2 * math.pi * at / period) for at in range(period))
    one = bytes(round(127 * (1 - abs(value))) | (0x80 if value >= 0 else 0) for value in wave)
    return (one * (frames // period + 1))[:frames]
