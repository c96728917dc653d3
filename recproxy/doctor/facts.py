"""What is probed, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

__all__ = [
    "DirectoryFacts",
    "EpochFacts",
    "Facts",
    "FileFacts",
    "Finding",
    "Grade",
    "PromptFacts",
    "SipFacts",
]


class Grade(Enum):
    """How a check went."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes:
        check: Short name of it.
        grade: How it went.
        said: What was found.
        mend: What to do; empty if there is nothing to do.
    """

    check: str
    grade: Grade
    said: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class SipFacts:
    """The installed pjsua2.

    Attributes:
        version: Of the package; empty if there is none.
        max_calls: Call slots, two for a bridged call; 0 if unknown.
        tls_library: Name and version.
        fault: Why it cannot be used; empty if it can.
    """

    version: str
    max_calls: int = 0
    tls_library: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class DirectoryFacts:
    """A directory that recproxy writes in.

    Attributes:
        path: The directory.
        present: Whether it is there.
        is_directory: Whether it is one.
        mode: Permission bits.
        owner: Its uid.
        writable: Whether files can be made in it, or, if it is missing, whether it can be made.
    """

    path: Path
    present: bool
    is_directory: bool = True
    mode: int = 0o700
    owner: int = 0
    writable: bool = True


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A key file.

    Attributes:
        path: The file.
        mode: Permission bits.
        shown: What it holds, for display.
        fault: Why it cannot be used; empty if it can.
    """

    path: Path
    mode: int = 0o600
    shown: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class PromptFacts:
    """One announcement.

    Attributes:
        name: Of it.
        language: BCP 47 tag.
        seconds: How long it takes to say; 0 if it is broken.
        fault: Why it cannot be played; empty if it can.
    """

    name: str
    language: str
    seconds: float = 0.0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class EpochFacts:
    """The keys of one key group that changes its key pair.

    Attributes:
        key_group: Its name.
        days: Whole days until its keys run out; negative if it has none for now.
        enough: Fewer days are too few.
        misplaced: Epochs whose private half lies on the recorder.
        fault: Why the keys cannot be looked at; empty if they can.
    """

    key_group: str
    days: int
    enough: int
    misplaced: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was probed.

    Attributes:
        euid: Who recproxy would run as: whoever runs the doctor.
        sip: The SIP stack.
        engine_fault: Why the RTP engine does not load; empty if it does.
        descriptors: Hard limit on open files.
        local_ports: First and last port that the kernel gives to others.
        addresses: Fault of each address to bind; empty if it is this machine's.
        data: The data directory.
        announcements: The directory of announcements.
        recipients: The recipients file.
        audit_key: The key that signs the audit chain.
        index_key: The key of the number index; None if none is configured.
        identities: Files beside the recipients that hold a private key.
        programs: Whether each program is installed.
        policy_fault: What is wrong with the policy; empty if nothing is.
        prompts: Announcements of the policy.
        free_bytes: Space left for recordings; None if unknown.
        clock_synchronised: None if unknown.
        tls_faults: What is wrong with the certificate or key of each socket for SIP by TLS; empty if
            nothing is. By the socket.
        api_fault: What is wrong with the tokens or a certificate of the HTTP API; empty if nothing
            is, None if there is no API.
        epochs: The key groups that change their key pair.
        unannounced: Trunks of recording clients (SIPREC) that no purpose names in announce.fork.
        certificate_days: Whole days until the certificate of each socket expires, negative if it has.
        inside: Directories in the data directory that are there.
        cdr: The directory of call detail records; None if none is kept.
        block_bytes: Of the file system that SQLite is on; None if it is not there, or unknown.
        catalogue_fault: What keeps us from a catalogue on a server; empty if nothing does, None
            if it is a file.
        bucket_fault: The same of the bucket; None if there is none.
    """

    euid: int
    sip: SipFacts
    engine_fault: str
    descriptors: int
    local_ports: tuple[int, int]
    addresses: Mapping[str, str]
    data: DirectoryFacts
    announcements: DirectoryFacts
    recipients: FileFacts
    audit_key: FileFacts
    index_key: FileFacts | None
    identities: tuple[Path, ...]
    programs: Mapping[str, bool]
    policy_fault: str
    prompts: tuple[PromptFacts, ...]
    free_bytes: int | None
    clock_synchronised: bool | None
    api_fault: str | None = None
    epochs: tuple[EpochFacts, ...] = ()
    unannounced: tuple[str, ...] = ()
    tls_faults: Mapping[str, str] = field(default_factory=dict)
    certificate_days: Mapping[str, int] = field(default_factory=dict)
    inside: tuple[DirectoryFacts, ...] = ()
    cdr: DirectoryFacts | None = None
    block_bytes: int | None = None
    catalogue_fault: str | None = None
    bucket_fault: str | None = None
