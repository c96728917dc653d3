"""Cases: what a person asked, of which recordings, until when, and what became of it.

They live in a directory of their own, apart from the recordings and outliving them.
A case says nothing about who asked: the number is in a file beside it, encrypted to
the recipients that open recordings, so that only who may listen can read it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import date, datetime
from enum import Enum
from typing import Final

import msgspec
from msgspec.structs import replace

from recproxy.errors import RecproxyError
from storage.age import AgeError, Identity, Recipient, decrypt, encrypt
from storage.durable import destroy
from storage.durable import replace as replace_file
from storage.files import Files

__all__ = [
    "Answer",
    "Case",
    "CaseError",
    "CaseState",
    "CaseStore",
    "Extension",
    "Found",
    "KeptBundle",
    "Outcome",
    "RequestKind",
    "bundle_name",
    "new_id",
]

_LETTERS: Final = "bcdfghjkmnpqrstvwxz"  # no digits: a case reference never looks like a number
_ID_LENGTH: Final = 12
_ID: Final = re.compile(rf"[{_LETTERS}]{{{_ID_LENGTH}}}\Z")
_MAX_BYTES: Final = 4 << 20


class CaseError(RecproxyError):
    """A case does not exist, or its state forbids what was asked."""


class RequestKind(Enum):
    """What a person may ask (GDPR art. 7(3), 15 to 21)."""

    ACCESS = "access"
    RECTIFY = "rectify"
    ERASE = "erase"
    RESTRICT = "restrict"
    OBJECT = "object"
    WITHDRAW = "withdraw"
    PORTABILITY = "portability"


class CaseState(Enum):
    """Where a case is."""

    OPEN = "open"
    CLOSED = "closed"


class Extension(Enum):
    """Why an answer takes two further months (GDPR art. 12(3))."""

    COMPLEXITY = "complexity"
    NUMBER = "number"


class Answer(Enum):
    """How a case ended."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    DROPPED = "dropped"  # the person took it back


class Outcome(Enum):
    """What became of one recording of a case, for one of its purposes."""

    FOUND = "found"
    EXPORTED = "exported"
    STATEMENT = "statement_added"
    SHREDDED = "shredded"
    ENDED = "purpose_ended"
    RESTRICTED = "restricted"
    REFUSED_HOLD = "refused_hold"
    REFUSED_STATUTE = "refused_statute"
    REFUSED_BASIS = "refused_basis"
    REFUSED_GROUND = "refused_ground"
    OPEN_CALL = "open_call"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One purpose of a recording of a case.

    Attributes:
        recording: Its id.
        purpose: One of its purposes.
        outcome: What became of it.
    """

    recording: str
    purpose: str
    outcome: Outcome


class KeptBundle(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that waits beside the cases to be fetched.

    Attributes:
        sha256: Of the encrypted file.
        made_at: When it was made.
        until: From then on retention destroys it.
    """

    sha256: str
    made_at: datetime
    until: datetime


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request; nothing in it says who asked.

    Attributes:
        id: Twelve letters.
        kind: What was asked.
        state: Where it is.
        received: Day on which the request was received.
        due: Last day for the answer.
        opened_at: When the case was opened.
        opened_by: Who opened it.
        extended: Why it takes longer, None if it does not.
        holds: Ids of the holds that freeze its recordings.
        found: Its recordings, once for each of their purposes.
        closed_at: When it was closed, None while it is open.
        answer: How it ended, None while it is open.
        bundle: The answer that waits to be fetched, None if there is none.
        statement: Reference of what the person wants added to the recordings (art. 16).
    """

    id: str
    kind: RequestKind
    state: CaseState
    received: date
    due: date
    opened_at: datetime
    opened_by: str
    extended: Extension | None = None
    holds: tuple[str, ...] = ()
    found: tuple[Found, ...] = ()
    closed_at: datetime | None = None
    answer: Answer | None = None
    bundle: KeptBundle | None = None
    statement: str = ""

    @property
    def reference(self) -> str:
        """How holds and the audit chain name it."""
        return f"DSR {self.id}"

    def with_outcomes(self, outcomes: Sequence[Found]) -> Case:
        """The case with these outcomes in place of what it knew of those recordings and purposes."""
        merged = {(one.recording, one.purpose): one for one in (*self.found, *outcomes)}
        return replace(self, found=tuple(merged.values()))

    def check_open(self) -> None:
        """Refuse to go on with a case that is closed.

        Raises:
            CaseError: It is.
        """
        if self.state is CaseState.CLOSED:
            raise CaseError(f"case {self.id} is closed", hint='open a new one: "recproxy subject open"')


def bundle_name(case_id: str) -> str:
    """Name, in the directory of cases, of the answer that waits to be fetched."""
    return f"{case_id}.bundle.age"


def new_id() -> str:
    """A random case id."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_ID_LENGTH))


class CaseStore:
    """The directory of cases.

    Args:
        files: The directory; nobody else may read it.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def create(self, case: Case, number: str, recipients: Sequence[Recipient]) -> None:
        """Write down a new case, the number first.

        Args:
            case: The case.
            number: Of the person who asks, as E.164.
            recipients: Who can read it.

        Raises:
            StorageError: It cannot be written.
        """
        replace_file(self._files, _number_path(case.id), encrypt(number.encode(), recipients))
        self.save(case)

    def save(self, case: Case) -> None:
        """Write a case down.

        Raises:
            StorageError: It cannot be written; the old text stands.
        """
        text = msgspec.json.format(msgspec.json.encode(case), indent=2)
        replace_file(self._files, _case_path(case.id), text + b"\n")

    def find(self, prefix: str) -> Case:
        """The case whose id begins with these letters.

        Raises:
            CaseError: None does, more than one does, or its file is damaged.
        """
        found = [name for name in self._ids() if name.startswith(prefix)] if prefix else []
        if len(found) != 1:
            raise CaseError(
                f"{'no case begins' if not found else 'more than one case begins'} with {prefix!r}",
                hint='see "recproxy subject status"',
            )
        return self._read(found[0])

    def all(self) -> tuple[Case, ...]:
        """Every case, the first due first.

        Raises:
            CaseError: A file is damaged.
        """
        return tuple(sorted((self._read(name) for name in self._ids()), key=lambda case: (case.due, case.id)))

    def number(self, case: Case, identities: Sequence[Identity]) -> str:
        """The number of the person who asked.

        Raises:
            CaseError: None of the identities opens it, or it is damaged.
        """
        data = self._files.read(_number_path(case.id), 0, _MAX_BYTES)
        try:
            return decrypt(data, identities).decode()
        except AgeError as err:
            raise CaseError(f"the number of case {case.id} does not open: {err}") from err

    def forget_number(self, case: Case) -> None:
        """Destroy the number; what is left says nothing about who asked.

        Raises:
            StorageError: It may still be there; repeat.
        """
        destroy(self._files, _number_path(case.id))

    def destroy_bundle(self, case: Case) -> bool:
        """Overwrite and remove the answer that waits.

        Returns:
            False if there was none.

        Raises:
            StorageError: It may still be there; repeat.
        """
        return destroy(self._files, bundle_name(case.id))

    def _ids(self) -> tuple[str, ...]:
        names = (name.removesuffix(".json") for name in self._files.names(".") if name.endswith(".json"))
        return tuple(name for name in names if _ID.match(name))

    def _read(self, case_id: str) -> Case:
        data = self._files.read(_case_path(case_id), 0, _MAX_BYTES)
        try:
            return msgspec.json.decode(data, type=Case)
        except msgspec.MsgspecError as err:
            raise CaseError(f"{_case_path(case_id)} is damaged: {err}") from err


def _case_path(case_id: str) -> str:
    return f"{case_id}.json"


def _number_path(case_id: str) -> str:
    return f"{case_id}.number.age"
