"""From a call's plan to what the store is asked to open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from recproxy.call.commands import NoticeFacts, OpenRecording
from recproxy.epochkeys import EpochKeys, Wrapping
from recproxy.recorder.jobs import Open
from recproxy.recorder.live import Live, specs
from recproxy.subject import NumberIndexer
from rtp import Encoding, Timeline, choose_format
from storage import AudioFormat, NoticeProof, OpenRequest, Parties, PurposeTerm, RecordingId, RecordingTags
from storage import Encoding as StoredEncoding

_ENCODINGS: Final = {
    Encoding.MULAW: StoredEncoding.ULAW,
    Encoding.ALAW: StoredEncoding.ALAW,
    Encoding.PCM16: StoredEncoding.PCM16,
}


@dataclass(frozen=True, slots=True)
class RecorderConfig:
    """Settings of the recorder.

    Attributes:
        node: Name of this node, stamped on each recording.
        interval_s: Time between two drains of the fork, each with a sync of the log.
        reorder_ms: How late a packet may be and still be recorded. A crash costs at
            most this and an interval.
        min_free_bytes: Below this much free space nothing new is recorded.
    """

    node: str
    interval_s: float = 0.4
    reorder_ms: int = 240
    min_free_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recording that is about to be opened.

    Attributes:
        job: What asks for it.
        timeline: Makes its frames.
        request: What the store is asked.
    """

    job: Open
    timeline: Timeline
    request: OpenRequest


def prepare(
    job: Open,
    recording: RecordingId,
    config: RecorderConfig,
    indexer: NumberIndexer | None,
    began: datetime,
    epochs: EpochKeys | None = None,
    after: Live | None = None,
) -> Prepared:
    """Settle what a recording is: its format, its tags, whom it can be found by.

    Args:
        job: What asks for it.
        recording: Its id.
        config: Settings.
        indexer: Makes what a number finds recordings by; None for no index.
        began: Its start by the wall clock, which may have been set back: it never
            starts before its notice was heard.
        epochs: Says whom it is wrapped to; None for the store's recipients, whatever it is for.
        after: Recording of the call that it goes on from, on one timeline; None if from none.

    Returns:
        What to open.

    Raises:
        RtpError: Its codecs cannot be recorded.
        StorageError: Its tags are not in order.
    """
    plan, facts = job.plan, job.plan.facts
    told = [plan.notice, *(further.notice for further in plan.further)]
    started = max(began, *(notice.completed for notice in told))
    if after is None:
        layout = choose_format(specs(plan.codecs).values())
        audio = AudioFormat(_ENCODINGS[layout.encoding], layout.rate_hz)
        timeline = Timeline(layout, specs(plan.codecs), job.start_ns, reorder_ms=config.reorder_ms)
    else:
        audio, timeline = after.audio, after.timeline
    tags = RecordingTags(
        recording=recording,
        call=job.call,
        node=config.node,
        purpose=plan.purpose,
        legal_basis=plan.legal_basis,
        policy_version=plan.policy_version,
        direction=facts.direction,
        trunk=facts.trunk,
        started=started,
        expiry=started + plan.retention,
        notice=_proof(plan.notice),
        further=tuple(
            PurposeTerm(
                further.purpose,
                further.legal_basis,
                started + further.retention,
                _proof(further.notice),
                further.from_end,
            )
            for further in plan.further
        ),
        from_end=plan.from_end,
    )
    parties = Parties(facts.caller, facts.callee, (facts.sip_call_id, plan.callee_call_id))
    numbers = (facts.caller, facts.callee)
    purposes = tuple(term.purpose for term in tags.terms)
    index = None if indexer is None else indexer.tokens(purposes, numbers, started)
    wrapping = Wrapping() if epochs is None else epochs.wrapping(purposes, started)
    request = OpenRequest(tags, parties, audio, index, wrapping.recipients, wrapping.epochs)
    return Prepared(job, timeline, request)


def names_of(plan: OpenRecording) -> str:
    """Ids of all its purposes, with commas."""
    return ",".join((plan.purpose, *(further.purpose for further in plan.further)))


def _proof(notice: NoticeFacts) -> NoticeProof:
    return NoticeProof(
        prompt=notice.prompt,
        sha256=notice.sha256,
        language=notice.language,
        heard_by=tuple(leg.value for leg in notice.heard_by),
        started=notice.started,
        completed=notice.completed,
    )
