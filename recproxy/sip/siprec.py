"""What a recording client says of the call that it forks to us (RFC 7865, RFC 7866), read in bounds.

Elements are known by their names alone, and those of the drafts before the RFC are
taken too: clients of both kinds are about. Nothing of it is trusted beyond what the trunk
may say: a document type, an entity or a nesting that no client needs is refused. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml.ElementTree import fromstring

from recproxy.call.events import ForkNotice, ForkSides, LegName
from recproxy.errors import SipError
from recproxy.sip.uri import Address, Uri, shown

__all__ = ["METADATA_KINDS", "Metadata", "notice_of", "party_of", "read_metadata"]

#: Media types of the metadata: as RFC 7866 section 11 registers it, and as most clients write it.
METADATA_KINDS: Final = frozenset({"application/rs-metadata", "application/rs-metadata+xml"})
MAX_BYTES: Final = 32_768
MAX_ELEMENTS: Final = 1_024
MAX_DEPTH: Final = 12
MAX_TEXT: Final = 256
_WHERE: Final = "recording metadata"
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,3}")
_HEARD_BY: Final[Mapping[str, tuple[LegName, ...]]] = {
    "both": (LegName.CALLER, LegName.CALLEE),
    "caller": (LegName.CALLER,),
    "callee": (LegName.CALLEE,),
}


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


def _no_streams() -> Mapping[str, frozenset[str]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Metadata:
    """One snapshot (RFC 7865 section 6), or several laid over each other.

    Attributes:
        complete: Whether it says all there is to say; else what has changed.
        participants: Address of record by the participant's id, in the order written.
        labels: Label of the m= section by the stream's id.
        sends: By the participant's id, the streams that hold its voice.
    """

    complete: bool = True
    participants: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    labels: Mapping[str, str] = field(default_factory=_nothing)
    sends: Mapping[str, frozenset[str]] = field(default_factory=_no_streams)

    def after(self, before: Metadata | None) -> Metadata:
        """What holds once this came.

        Args:
            before: What held until then; None if nothing was said yet.

        Raises:
            SipError: It tells of changes only, and there is nothing that could have changed.
        """
        if self.complete:
            return self
        if before is None:
            raise SipError(_WHERE, "a partial snapshot, and no complete one came before it")
        return Metadata(
            True,
            {**before.participants, **self.participants},
            {**before.labels, **self.labels},
            {**before.sends, **self.sends},
        )

    @property
    def parties(self) -> tuple[str, ...]:
        """Ids of the caller and of the callee: the first two participants, as clients write them."""
        return tuple(self.participants)[:2]

    def speakers(self, label: str) -> frozenset[str]:
        """Who is heard in the m= section of this label; nobody if the metadata does not say."""
        streams = {stream for stream, name in self.labels.items() if name == label}
        return frozenset(party for party, sent in self.sends.items() if streams & sent)

    def sides(self, parties: Sequence[str], labels: Sequence[str | None]) -> ForkSides:
        """Which m= section is whose.

        A section in which a third party is heard alone is nobody's. A section of which
        nothing is said belongs to the party that has none yet, the caller first.

        Args:
            parties: Ids of the caller and of the callee; may be one or none.
            labels: Of each section that can be recorded, None for the others.

        Returns:
            At most one section for either; the same section is never both.
        """
        found: dict[LegName, int] = {}
        unsaid = []
        for at, label in enumerate(labels):
            if label is None:
                continue
            heard = self.speakers(label) if label else frozenset()
            if not heard:
                unsaid.append(at)
            for leg, party in zip(LegName, parties, strict=False):
                if party in heard and leg not in found:
                    found[leg] = at
                    break
        for leg in LegName:
            if leg not in found and unsaid:
                found[leg] = unsaid.pop(0)
        return ForkSides(found.get(LegName.CALLER), found.get(LegName.CALLEE))


def read_metadata(document: bytes) -> Metadata:
    """Read one snapshot.

    Args:
        document: The XML as received.

    Returns:
        What it says of participants and streams; all else is passed over.

    Raises:
        SipError: It is no XML, has a document type or an entity, is beyond a limit of this
            module, or is not a ``recording`` element.
    """
    if len(document) > MAX_BYTES:
        raise SipError(_WHERE, f"{len(document)} bytes, more than {MAX_BYTES}", code=513)
    try:
        root: Element = fromstring(document.strip(), forbid_dtd=True)
    except (ParseError, ValueError, LookupError) as err:  # ValueError: what defusedxml forbids
        raise SipError(_WHERE, f"not XML without document type and entities ({type(err).__name__})") from err
    _check_size(root)
    if _name(root) != "recording":
        raise SipError(_WHERE, "its root is not recording", shown(_name(root)))
    return _snapshot(root)


def _snapshot(root: Element) -> Metadata:
    participants: dict[str, str] = {}
    labels: dict[str, str] = {}
    sends: dict[str, frozenset[str]] = {}
    mode = "complete"
    for child in root:
        match _name(child):
            case "datamode":
                mode = _text(child).lower()
            case "participant":
                party = _id(child, "participant")
                participants[party] = _address(child)
                sent = _sent(child)
                if sent:  # as the drafts have it
                    sends[party] = sent
            case "stream":
                labels[_id(child, "stream")] = next(
                    (_text(part) for part in child if _name(part) == "label"), ""
                )
            case "participantstreamassoc":
                sends[_id(child, "participant")] = _sent(child)
            case _:
                pass
    if mode not in {"complete", "partial"}:
        raise SipError(_WHERE, "datamode is neither complete nor partial", shown(mode))
    return Metadata(mode == "complete", participants, labels, sends)


def party_of(metadata: Metadata, party: str) -> Uri | None:
    """The address of a participant; None if it has none, or one that is no URI of SIP or of a telephone."""
    text = metadata.participants.get(party, "")
    try:
        return Address.parse(text).uri if text else None
    except SipError:
        return None


def notice_of(value: str) -> ForkNotice:
    """What a recording client says of the announcement that it played.

    ``completed;prompt=training;language=nl;heard-by=both``: a word, then parameters. The
    word is ``completed`` or ``pending``. ``prompt`` is a name that the policy knows.
    ``heard-by`` is ``caller``, ``callee`` or ``both``; without it the client says that
    everybody heard it who must.

    Raises:
        SipError: It is malformed, or says the same thing twice.
    """
    where = "announcement of the recording client"
    word, *parameters = (part.strip() for part in value.split(";"))
    said: dict[str, str] = {}
    for parameter in parameters:
        name, equals, text = (part.strip() for part in parameter.partition("="))
        text = text.removeprefix('"').removesuffix('"')
        if not equals or not text or name.lower() in said or len(text) > MAX_TEXT:
            raise SipError(where, "not a word and parameters, each once", shown(parameter))
        said[name.lower()] = text
    heard = said.get("heard-by")
    if word.lower() not in {"completed", "pending"}:
        raise SipError(where, "neither completed nor pending", shown(word))
    language = said.get("language", "")
    if language and not _LANGUAGE.fullmatch(language):
        raise SipError(where, "language is no BCP 47 tag", shown(language))
    if heard is not None and heard.lower() not in _HEARD_BY:
        raise SipError(where, "heard-by is not caller, callee or both", shown(heard))
    return ForkNotice(
        completed=word.lower() == "completed",
        prompt=said.get("prompt", ""),
        language=language,
        heard_by=_HEARD_BY[heard.lower()] if heard is not None else (),
        text=value,
    )


def _check_size(root: Element) -> None:
    count, level = 0, [root]
    for _ in range(MAX_DEPTH):
        count += len(level)
        if count > MAX_ELEMENTS:
            raise SipError(_WHERE, f"more than {MAX_ELEMENTS} elements", code=513)
        level = [child for element in level for child in element]
        if not level:
            return
    raise SipError(_WHERE, f"nested deeper than {MAX_DEPTH} elements", code=513)


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def _text(element: Element) -> str:
    text = (element.text or "").strip()
    if len(text) > MAX_TEXT:
        raise SipError(_WHERE, f"{_name(element)} is longer than {MAX_TEXT} characters")
    return text


def _id(element: Element, kind: str) -> str:
    for name in (f"{kind}_id", "id"):
        found = (element.get(name) or "").strip()
        if found and len(found) <= MAX_TEXT:
            return found
    raise SipError(_WHERE, f"{_name(element)} without {kind}_id of up to {MAX_TEXT} characters")


def _address(participant: Element) -> str:
    """Its first address of record; empty if it has none."""
    for child in participant:
        if _name(child) == "nameid" and (aor := (child.get("aor") or "").strip()):
            return aor
        if _name(child) == "aor" and (aor := _text(child)):
            return aor
    return ""


def _sent(element: Element) -> frozenset[str]:
    return frozenset(_texts(element, "send"))


def _texts(element: Element, name: str) -> Iterator[str]:
    for child in element:
        if _name(child) == name and (text := _text(child)):
            yield text
