"""What became of each recording, read from the audit chain alone; no I/O.

The chain is written beside the catalogue: a line for each change of a row. So a row, or the
tombstone in its place, can be made again from the lines that name it, but for what no log
may hold: who called whom, and by which numbers it is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import ClassVar

from storage.audit import AuditEntry, AuditValue
from storage.catalogue import (
    CatalogueRow,
    DerivedFile,
    DerivedKind,
    KeyFacts,
    SealedRow,
    State,
    Tombstone,
    length_bucket,
)
from storage.errors import EvidenceMissing
from storage.evidence import Epoch, Opened, read_opening, read_sealing
from storage.holds import Hold, HoldKind, HoldReason, HoldState
from storage.openbody import body_path
from storage.tags import PurposeTerm, RecordingId, RecordingTags

__all__ = ["ChainLine", "History", "Story", "read_history"]

ChainLine = tuple[AuditEntry, Mapping[str, AuditValue]]
"""A line of the chain: its number and hash, and its fields."""

_NOBODY_NOTED: KeyFacts = {"key_group": "", "key_id": ""}


@dataclass(slots=True)
class Story:
    """One recording.

    Attributes:
        opened: As it was opened.
        tags: As they stand: without purposes that have ended, with the expiry of each that has not.
        epochs: By purpose the key pair that its header is wrapped to, if that is of an epoch.
        sealed: Its facts; None if it was never sealed.
        failed: Why it was given up; empty if it was not.
        ending: Why its shredding began; empty if it did not.
        gone: Whether it was shredded or discarded.
        stones: What remains of it, or of purposes of it that have ended.
        derived: What was made from it and stands, by kind.
        promoted: By purpose the tag for which it is kept longer.
    """

    opened: Opened
    tags: RecordingTags
    epochs: dict[str, Epoch]
    sealed: SealedRow | None = None
    failed: str = ""
    ending: str = ""
    gone: bool = False
    stones: list[Tombstone] = field(default_factory=list)
    derived: dict[str, DerivedFile] = field(default_factory=dict)
    promoted: dict[str, str] = field(default_factory=dict)

    @property
    def row(self) -> CatalogueRow:
        """Its row, without its parties; of a recording that is not gone."""
        sealed = self.sealed
        if self.ending:
            state = State.SHREDDING
        elif sealed is not None:
            state = State.SEALED
        else:
            state = State.ABORTED if self.failed else State.OPEN
        return CatalogueRow(
            tags=self.tags,
            state=state,
            audio=self.opened.audio,
            body=body_path(self.tags.recording, self.tags.started),
            parties=b"",
            held=False,
            hold_reference="",
            facts=None if sealed is None else sealed.facts,
            size_bytes=0 if sealed is None else sealed.size_bytes,
            sha256="" if sealed is None else sealed.sha256,
            reason=self.failed if sealed is None else sealed.facts.reason,
            cause=self.ending,
            counted_from=None if sealed is None else sealed.counted_from,
        )

    def hear(self, entry: AuditEntry, line: Mapping[str, AuditValue]) -> None:
        """Take in the next line that names it.

        Args:
            entry: Number and hash of the line.
            line: Its fields.

        Raises:
            EvidenceMissing: It does not tell enough.
        """
        heard = self._HEARD.get(str(line.get("event")))
        if heard is not None:
            heard(self, entry, line)

    def _seal(self, _: AuditEntry, line: Mapping[str, AuditValue]) -> None:
        if self.sealed is None:  # told twice after a crash
            self.sealed = read_sealing(line, self.opened)
            counted = self.sealed.counted_from or self.tags.started
            self.tags = self.tags.later(counted - self.tags.started)

    def _fail(self, _: AuditEntry, line: Mapping[str, AuditValue]) -> None:
        if line.get("outcome") == "aborted":
            self.failed = str(line.get("reason", ""))

    def _move(self, _: AuditEntry, line: Mapping[str, AuditValue]) -> None:
        purpose, expiry = str(line["purpose"]), datetime.fromisoformat(str(line["expires_at"]))
        if purpose in {term.purpose for term in self.tags.terms}:
            self.tags = _moved(self.tags, purpose, expiry)
            if line.get("event") == "rec.promoted":
                self.promoted[purpose] = str(line.get("tag", ""))
        for kind, file in self.derived.items():
            if file.slot == purpose:
                self.derived[kind] = replace(file, expiry=expiry)

    def _rewrap(self, _: AuditEntry, line: Mapping[str, AuditValue]) -> None:
        self.epochs[str(line["purpose"])] = (str(line.get("key_group", "")), str(line.get("epoch", "")))

    def _begin_end(self, _: AuditEntry, line: Mapping[str, AuditValue]) -> None:
        self.ending = str(line.get("reason", ""))

    def _end_purpose(self, entry: AuditEntry, line: Mapping[str, AuditValue]) -> None:
        purpose = str(line["purpose"])
        ended = [term for term in self.tags.terms if term.purpose == purpose]
        if ended and len(self.tags.terms) > 1:
            self.stones += [self._stone(entry, line, ended[0], State.SHREDDED)]
            self.tags = self.tags.without(purpose)

    def _end(self, entry: AuditEntry, line: Mapping[str, AuditValue]) -> None:
        state = State.DISCARDED if line.get("event") == "rec.discarded" else State.SHREDDED
        self.stones += [self._stone(entry, line, term, state) for term in self.tags.terms]
        if state is State.SHREDDED:
            self.stones += [self._stone_of(file, entry, line) for file in self.derived.values()]
        self.derived.clear()
        self.gone = True

    def _stone(
        self, entry: AuditEntry, line: Mapping[str, AuditValue], term: PurposeTerm, state: State
    ) -> Tombstone:
        sealed = self.sealed if state is State.SHREDDED else None
        return Tombstone(
            recording=self.tags.recording,
            state=state,
            purpose=term.purpose,
            policy_version=self.tags.policy_version,
            started_on=self.tags.started.astimezone(UTC).date(),
            minutes=0 if sealed is None else length_bucket(sealed.facts.frames, self.opened.audio.rate_hz),
            expiry=term.expiry,
            gone_at=datetime.fromisoformat(str(line["ts"])),
            cause=str(line.get("reason", "")),
            size_bytes=0 if sealed is None else sealed.size_bytes,
            sha256="" if sealed is None else sealed.sha256,
            run=str(line.get("run", "")),
            verified=True,
            chain_seq=entry.seq,
            chain_sha256=entry.sha256,
            node=self.tags.node,
            **_NOBODY_NOTED,
        )

    def _add_derived(self, _: AuditEntry, line: Mapping[str, AuditValue]) -> None:
        kind = DerivedKind(str(line["kind"]))
        self.derived[kind.value] = DerivedFile(
            recording=self.tags.recording,
            kind=kind,
            purpose=str(line["purpose"]),
            state=State.SEALED,
            expiry=datetime.fromisoformat(str(line["expires_at"])),
            added=datetime.fromisoformat(str(line["ts"])),
            language=str(line["language"]),
            form=str(line["format"]),
            origin="",
            body=f"{body_path(self.tags.recording, self.tags.started)}.{kind.value}",
            size_bytes=int(line["bytes"]),
            sha256=str(line["sha256_ct"]),
        )

    def _end_derived(self, entry: AuditEntry, line: Mapping[str, AuditValue]) -> None:
        file = self.derived.pop(str(line.get("kind", "")), None)
        if file is not None:
            self.stones = [stone for stone in self.stones if stone.purpose != file.slot]
            self.stones.append(self._stone_of(file, entry, line))

    def _stone_of(self, file: DerivedFile, entry: AuditEntry, line: Mapping[str, AuditValue]) -> Tombstone:
        term = PurposeTerm(file.purpose, self.tags.legal_basis, file.expiry)
        stone = self._stone(entry, line, term, State.SHREDDED)
        return replace(stone, purpose=file.slot, minutes=0, size_bytes=file.size_bytes, sha256=file.sha256)

    _HEARD: ClassVar[Mapping[str, Callable[[Story, AuditEntry, Mapping[str, AuditValue]], None]]] = {
        "rec.sealed": _seal,
        "rec.failed": _fail,
        "rec.expiry_changed": _move,
        "rec.promoted": _move,
        "rec.purpose_expired": _end_purpose,
        "rec.discarded": _end,
        "key.rewrapped": _rewrap,
        "derived.added": _add_derived,
        "derived.shredded": _end_derived,
        "shred.started": _begin_end,
        "shred.verified": _end,
    }


@dataclass(slots=True)
class History:
    """What the whole chain tells.

    Attributes:
        stories: By id each recording whose beginning it tells.
        untold: By id each recording that lives, as far as is known, and whose beginning it does not tell.
        holds: The legal holds that stand or wait for a second person, by id.
        restrictions: Cases under which the use of recordings is restricted.
        cases: Cases that are open.
        purged: By purpose up to when tombstones were purged.
    """

    stories: dict[str, Story] = field(default_factory=dict)
    untold: dict[str, str] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    restrictions: set[str] = field(default_factory=set)
    cases: set[str] = field(default_factory=set)
    purged: dict[str, datetime] = field(default_factory=dict)

    def stones(self) -> list[Tombstone]:
        """Every tombstone whose own time is not over."""
        return [
            stone
            for story in self.stories.values()
            for stone in story.stones
            if stone.purpose not in self.purged or stone.gone_at > self.purged[stone.purpose]
        ]


def read_history(lines: Iterable[ChainLine]) -> History:
    """Read the whole chain.

    Args:
        lines: Its lines, oldest first, verified.
    """
    found = History()
    for entry, line in lines:
        _hear_case(found, line)
        if "hold" in line:
            _hear_hold(found.holds, line)
        if line.get("event") == "tombstone.purged":
            found.purged[str(line["purpose"])] = datetime.fromisoformat(str(line["until"]))
        name = line.get("rec")
        if isinstance(name, str):
            try:
                _hear(found, name, entry, line)
            except EvidenceMissing as err:
                found.stories.pop(name, None)
                found.untold[name] = str(err)
    return found


def _hear(found: History, name: str, entry: AuditEntry, line: Mapping[str, AuditValue]) -> None:
    event = line.get("event")
    if event == "rec.started":
        opened = read_opening(line)
        found.stories[name] = Story(opened, opened.tags, dict(opened.epochs))
    elif name in found.stories:
        found.stories[name].hear(entry, line)
    elif event in {"shred.verified", "rec.discarded"}:
        found.untold.pop(name, None)
    elif event == "rec.sealed":
        found.untold.setdefault(name, f"the line that tells how recording {name} was opened was removed")


def _hear_hold(holds: dict[str, Hold], line: Mapping[str, AuditValue]) -> None:
    name, event = str(line["hold"]), line.get("event")
    at, by = datetime.fromisoformat(str(line["ts"])), _person(str(line["actor"]))
    if event == "hold.requested" and "rec" in line:
        recording = RecordingId(str(line["rec"]))
        hold = holds.get(name)
        holds[name] = (
            replace(hold, recordings=(*hold.recordings, recording))
            if hold is not None
            else Hold(
                id=name,
                kind=HoldKind.LEGAL,
                reason=HoldReason(str(line["reason"])),
                case_ref=str(line["case_ref"]),
                recordings=(recording,),
                requested_by=by,
                requested_at=at,
                ends=datetime.fromisoformat(str(line["end"])),
            )
        )
    elif event == "hold.approved" and name in holds and holds[name].state is HoldState.REQUESTED:
        holds[name] = replace(holds[name], approved_by=by, approved_at=at)
    elif event in {"hold.lifted", "hold.expired"}:
        holds.pop(name, None)


def _person(actor: str) -> str:
    """Who acted: the person who became another user by sudo, if somebody did."""
    name, _, before = actor.partition(" by sudo:")
    return f"user:{before}" if before else name


def _hear_case(found: History, line: Mapping[str, AuditValue]) -> None:
    match line.get("event"):
        case "restrict.set":
            found.restrictions.add(str(line.get("dsr", "")))
        case "restrict.lifted":
            found.restrictions.discard(str(line.get("dsr", "")))
        case "dsr.opened":
            found.cases.add(str(line.get("dsr", "")))
        case "dsr.delivered" | "dsr.refused" | "dsr.closed":
            found.cases.discard(str(line.get("dsr", "")))
        case _:
            pass


def _moved(tags: RecordingTags, purpose: str, expiry: datetime) -> RecordingTags:
    """The tags when one purpose expires at another instant."""
    if tags.purpose == purpose:
        return replace(tags, expiry=expiry)
    further = (replace(term, expiry=expiry) if term.purpose == purpose else term for term in tags.further)
    return replace(tags, further=tuple(further))
