"""What a recording client has said in one dialog: the metadata so far, and whose section is whose. Pure."""

from __future__ import annotations

from recproxy.call.events import ForkChanged, ForkNotice, ForkSides, Sdp
from recproxy.errors import SipError
from recproxy.sip import sdp
from recproxy.sip.message import Message, body_of_kind, sdp_body
from recproxy.sip.siprec import METADATA_KINDS, Metadata, notice_of, read_metadata

__all__ = ["ForkDialog"]


class ForkDialog:
    """One recording client's dialog.

    Attributes:
        metadata: What holds; None before the INVITE was read.
        offer: What was offered last; None before that.
        version: Number of answers that we have written.
    """

    def __init__(self, notice_header: str) -> None:
        """Begin with nothing said.

        Args:
            notice_header: Header in which the client says what it announced.
        """
        self._notice_header = notice_header
        self._parties: tuple[str, ...] = ()
        self.metadata: Metadata | None = None
        self.offer: Sdp | None = None
        self.version = 0

    @property
    def parties(self) -> tuple[str, ...]:
        """Ids of the caller and of the callee; they stay, whoever joins later."""
        return self._parties

    def begin(self, invite: Message) -> tuple[Metadata, ForkChanged]:
        """Read the INVITE.

        Returns:
            Its metadata, and what it offers; there is an offer.

        Raises:
            SipError: It has no offer (488) or no metadata (400), or one that is malformed.
            SdpError: The offer is malformed.
        """
        said = self.read(invite)
        if said.offer is None:
            raise SipError("SDP", "a recording client must make an offer (RFC 7866 section 7.1)", code=488)
        if self.metadata is None:
            raise SipError("body", "no recording metadata beside the offer (RFC 7866 section 9.1)")
        return self.metadata, said

    def read(self, message: Message) -> ForkChanged:
        """Read a request of the client; what is malformed leaves everything as it was.

        Raises:
            SipError: Body, metadata or announcement are malformed.
            SdpError: The offer is.
        """
        body = sdp_body(message)
        offer = sdp.parse(body) if body else None
        document = body_of_kind(message, METADATA_KINDS)
        metadata = read_metadata(document).after(self.metadata) if document is not None else self.metadata
        notice = self._notice(message)
        if metadata is not None and not self._parties:
            self._parties = metadata.parties
        self.metadata = metadata
        self.offer = offer or self.offer
        return ForkChanged(offer, self._sides(), notice)

    def _notice(self, message: Message) -> ForkNotice | None:
        value = message.first(self._notice_header)
        return notice_of(value) if value is not None else None

    def _sides(self) -> ForkSides:
        if self.offer is None:
            return ForkSides(None, None)
        labels = [stream.label if stream.kind == "audio" else None for stream in self.offer.streams]
        return (self.metadata or Metadata()).sides(self._parties, labels)
