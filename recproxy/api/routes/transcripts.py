"""What somebody wrote of the talk: read as ciphertext, kept, shredded; its words are never on a disk."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from recproxy.api.gate import actor, authorise
from recproxy.api.leave import leave, permit, usable
from recproxy.api.models import DerivedDocument
from recproxy.api.parts import Parts, Who
from recproxy.api.problems import Problem
from recproxy.api.sealed import Sealed, sealed_answer
from recproxy.documents import of_derived
from recproxy.errors import RecproxyError
from recproxy.jsonform import Json
from recproxy.transcribing import Written, check_allowed, transcript_source
from recproxy.transcripts import LANGUAGE, ORIGIN, Form, Transcript, TranscriptError, read_transcript
from storage import DerivedKind, DerivedStore

__all__ = ["router"]

router = APIRouter(
    prefix="/v1/recordings/{recording}/transcript", tags=["transcripts"], dependencies=[Depends(authorise)]
)

_KIND: Final = DerivedKind.TRANSCRIPT
_TEXT: Final = {form.value: {"schema": {"type": "string"}} for form in Form}
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Id of a recording")]
Use = Annotated[
    str, Query(min_length=1, max_length=63, description="What for: one of the recording's uses; audited")
]
Language = Annotated[str, Query(max_length=35, description="Of its words, such as nl or en-GB")]
Origin = Annotated[
    str, Query(alias="by", max_length=64, description="Who or what wrote it; no party of the call")
]
Reason = Annotated[Literal["corrected", "not_needed", "erase"], Query(description="Why; audited")]


async def _content(request: Request) -> bytes:
    """The body, read once the token was found right; ``application`` bounds its length."""
    return await request.body()


@router.get(
    "",
    operation_id="transcripts.file",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}},
)
def file(recording: Id, use: Use, parts: Parts, who: Who) -> StreamingResponse:
    """Give the transcript of a recording as one age file, to whoever may hear the recording.

    Only an identity of its recipients opens it; the facts of the recording tell its form.
    """
    row = usable(parts, recording)
    found = parts.catalogue.derived.sealed(row.tags.recording, _KIND)
    if found is None:
        raise Problem(404, "the recording has no transcript", "POST one that somebody wrote")
    facts = {
        **leave(parts, row, who, use),
        "kind": _KIND.value,
        "sha256_ct": found.sha256,
        "to": "api",
        "outcome": "opened",
    }
    name = f"{recording}{Form(found.form).suffix}.age"
    sealed = Sealed(found.slot, f"{found.body}.age", found.size_bytes, name)
    return sealed_answer(parts, row.tags.recording, sealed, "derived.opened", actor(who.name), facts)


@router.post(
    "",
    operation_id="transcripts.add",
    status_code=201,
    response_model=DerivedDocument,
    openapi_extra={"requestBody": {"required": True, "content": _TEXT}},
)
def add(
    recording: Id,
    use: Use,
    language: Language,
    parts: Parts,
    who: Who,
    content: Annotated[bytes, Depends(_content)],
    origin: Origin = "",
) -> dict[str, Json]:
    """Keep a transcript with a recording: plain text, or WebVTT that says who speaks; 1 MiB at most.

    It is encrypted in memory to the recipients of the recording, by a key of its own; the
    purpose must allow it. A recording has one: remove it to replace it.
    """
    row = usable(parts, recording)
    purpose = permit(parts, row, who, use)["purpose"]
    policy, now = parts.policy().file, parts.now()
    try:
        check_allowed(policy, purpose)
        written = Written(_read(content), *_labels(language, origin))
        wrap = parts.catalogue.wraps.of(row.tags.recording).get(purpose)
        source = transcript_source(policy, row, purpose, wrap, parts.recipients, written, now)
    except RecproxyError as err:
        raise Problem(409, str(err), err.hint or "see the policy") from err
    with parts.chain.acting(actor(who.name)) as log:
        store = DerivedStore(parts.files, parts.catalogue, log, parts.objects)
        return dict(of_derived(store.add(source, written.transcript.text.encode(), now)))


@router.delete("", operation_id="transcripts.remove", status_code=204, response_class=Response)
def remove(recording: Id, use: Use, reason: Reason, parts: Parts, who: Who) -> Response:
    """Shred the transcript of a recording, key first; the recording stays. A legal hold keeps both."""
    row = usable(parts, recording)
    permit(parts, row, who, use)
    if not any(one.kind is _KIND for one in parts.catalogue.derived.of(row.tags.recording)):
        raise Problem(404, "the recording has no transcript", "GET the recording to see what it has")
    with parts.chain.acting(actor(who.name)) as log:
        store = DerivedStore(parts.files, parts.catalogue, log, parts.objects)
        store.remove(row.tags.recording, _KIND, reason, parts.now())
    parts.catalogue.checkpoint()
    return Response(status_code=204)


def _read(content: bytes) -> Transcript:
    try:
        return read_transcript(content)
    except TranscriptError as err:
        raise Problem(422, str(err), err.hint or "give plain text or WebVTT, UTF-8") from err


def _labels(language: str, origin: str) -> tuple[str, str]:
    if not LANGUAGE.match(language):
        raise Problem(422, "language is no tag of a language", "such as nl or en-GB")
    if not ORIGIN.match(origin):
        raise Problem(422, "by has seven digits in a row, or control characters", "name a program or a firm")
    return language, origin
