"""Errors of recproxy: one tree, whose classes say whose fault it is.

The command line turns an error into one line and the class's exit code; an
error that a peer caused never ends the process.
"""

from __future__ import annotations

from typing import ClassVar


class RecproxyError(Exception):
    """Root of the tree; never raised itself.

    Attributes:
        exit_code: What a command that ends with this error returns.
        hint: What the operator can do about it; empty if the message says it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(RecproxyError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class PartlyDone(RecproxyError):  # noqa: N818 - the outcome is the name
    """Some of the work was done, the rest failed; running again may finish it."""

    exit_code = 3


class NoCatalogue(RecproxyError):  # noqa: N818
    """The catalogue of recordings does not exist or does not open."""

    exit_code = 10


class AlreadyRunning(RecproxyError):  # noqa: N818
    """Another process holds the lock of this data directory."""

    exit_code = 11


class NoIdentity(RecproxyError):  # noqa: N818
    """None of the identities given opens the recording."""

    exit_code = 12


class VerificationFailed(RecproxyError):  # noqa: N818
    """A recording or the audit chain is not what it was when it was written."""

    exit_code = 20


class ConfigError(RecproxyError):
    """A configuration file is wrong.

    Attributes:
        problems: One ``file:line: key: what is wrong; the mend`` each, in file order.
    """

    exit_code = 78

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PolicyError(ConfigError):
    """The policy file is wrong; whatever policy was in force stays."""


class StartError(RecproxyError):
    """The daemon cannot start: a directory, a key or a port cannot be used."""


class IllegalEvent(RecproxyError):  # noqa: N818 - said of the event, not of the machine
    """An event that the call machine's state does not allow; nothing was changed."""


class PeerError(RecproxyError):
    """A peer sent what the protocol does not allow: its fault, never ours.

    Attributes:
        where: Place in the message, such as ``SDP line 4`` or ``header Via``.
        what: What is wrong, without any value of the message: fit for a log.
        value: The offending text, clipped and escaped: fit for an answer to the
            peer and for a debugger, never for a log.
    """

    def __init__(self, where: str, what: str, value: str = "") -> None:
        super().__init__(f"{where}: {what}" + (f": {value}" if value else ""))
        self.where = where
        self.what = what
        self.value = value


class SdpError(PeerError):
    """An SDP body is malformed, or beyond the limits set for it."""


class SipError(PeerError):
    """A SIP message or one of its headers is malformed, or beyond its limits.

    Attributes:
        code: The status that fits as an answer (RFC 3261 section 21).
    """

    def __init__(self, where: str, what: str, value: str = "", *, code: int = 400) -> None:
        super().__init__(where, what, value)
        self.code = code
