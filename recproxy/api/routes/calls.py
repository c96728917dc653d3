"""Calls that go on: seen, and paused while something is said that must not be kept."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Body, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from recproxy.api.gate import actor, authorise
from recproxy.api.live import LiveCall, LiveRecording
from recproxy.api.models import Call, Calls
from recproxy.api.parts import ApiParts, Parts, Who
from recproxy.api.problems import Problem
from recproxy.call.events import PauseAsked, ResumeAsked, TopicNamed
from recproxy.jsonform import Json, instant
from recproxy.policy import Policy, PurposeName

__all__ = ["router"]

router = APIRouter(prefix="/v1/calls", tags=["calls"], dependencies=[Depends(authorise)])

_CONFIRM_S: Final = 2.0
_RECORDED: Final = frozenset({LiveRecording.ON, LiveRecording.PAUSED})
Ref = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="Reference of a call")]


@router.get("", operation_id="calls.list", response_model=Calls)
def listing(parts: Parts) -> dict[str, Json]:
    """List the calls that go on, oldest first."""
    policy = parts.policy()
    return {"calls": [_document(call, policy) for call in parts.live.all()]}


@router.get("/{ref}", operation_id="calls.show", response_model=Call)
def show(ref: Ref, parts: Parts) -> dict[str, Json]:
    """Show one call."""
    return _document(_live(parts, ref), parts.policy())


@router.post("/{ref}/pause", operation_id="calls.pause", response_model=Call)
def pause(ref: Ref, parts: Parts, who: Who) -> dict[str, Json]:
    """Stop recording while, say, a card number is spoken; answered once it has stopped.

    It ends with ``resume``, or by itself after the time that the purpose gives.
    """
    _changeable(parts, ref)
    parts.chain.append("pause.asked", actor(who.name), {"call": ref})
    parts.post(ref, PauseAsked())
    call = parts.live.wait(ref, LiveRecording.PAUSED, _CONFIRM_S)
    if call is None or call.recording_state not in _RECORDED:
        raise Problem(409, "the call or its recording has ended", "see GET /v1/calls")
    if call.recording_state is not LiveRecording.PAUSED:
        raise Problem(503, "the pause was not confirmed: take it that all is still recorded", "try again")
    return _document(call, parts.policy())


@router.post("/{ref}/resume", operation_id="calls.resume", response_model=Call)
def resume(ref: Ref, parts: Parts, who: Who) -> dict[str, Json]:
    """End a pause that was asked for here; what else pauses the recording stays."""
    _changeable(parts, ref)
    parts.chain.append("resume.asked", actor(who.name), {"call": ref})
    parts.post(ref, ResumeAsked())
    call = parts.live.wait(ref, LiveRecording.ON, _CONFIRM_S)
    if call is None:
        raise Problem(409, "the call has ended", "see GET /v1/calls")
    return _document(call, parts.policy())


class NameRequest(BaseModel):
    """What a call is for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    purpose: str = Field(min_length=1, max_length=63, description="Id of a purpose with selection.topic_api")


@router.post("/{ref}/purpose", operation_id="calls.name", response_model=Call)
def name(ref: Ref, parts: Parts, who: Who, asked: Annotated[NameRequest, Body()]) -> dict[str, Json]:
    """Say what a call is for that is not recorded: it is announced now, and recorded after that.

    Nothing that was said before is. Once, and not while a party is on hold.
    """
    call, policy = _live(parts, ref), parts.policy()
    purpose = policy.purposes.get(PurposeName(asked.purpose))
    if purpose is None or not purpose.selection.topic_api:
        raise Problem(403, f"no program may name {asked.purpose!r}", "set selection.topic_api in the policy")
    if call.purpose:
        raise Problem(409, f"the call is for {call.purpose} already", "see GET /v1/calls")
    parts.chain.append("topic.asked", actor(who.name), {"call": ref, "purpose": asked.purpose})
    parts.post(ref, TopicNamed(asked.purpose))
    found = parts.live.wait_named(ref, _CONFIRM_S)
    if found is None or not found.purpose:
        mend = "it may have ended, be on hold, or be no call that the purpose is for: see policy explain"
        raise Problem(409, "the call did not become one to be recorded", mend)
    return _document(found, policy)


def _live(parts: ApiParts, ref: str) -> LiveCall:
    call = parts.live.get(ref)
    if call is None:
        raise Problem(404, "no such call goes on", "see GET /v1/calls")
    return call


def _changeable(parts: ApiParts, ref: str) -> None:
    call = _live(parts, ref)
    if call.recording_state not in _RECORDED:
        raise Problem(409, "the call is not recorded at this moment", "see GET /v1/calls")
    if not _pausable(call, parts.policy()):
        mend = "set pause.payment.api in the policy; it holds for calls that begin after that"
        raise Problem(403, f"the purpose {call.purpose} lets no program pause", mend)


def _pausable(call: LiveCall, policy: Policy) -> bool:
    found = (policy.purposes.get(PurposeName(name)) for name in call.purpose.split(","))
    return any(
        purpose is not None and purpose.pause.payment is not None and purpose.pause.payment.api
        for purpose in found
    )


def _document(call: LiveCall, policy: Policy) -> dict[str, Json]:
    return {
        "ref": call.ref,
        "started": instant(call.started),
        "answered": None if call.answered is None else instant(call.answered),
        "trunk": call.trunk,
        "direction": call.direction,
        "caller": call.caller,
        "callee": call.callee,
        "decision": call.decision,
        "purpose": call.purpose,
        "recording": call.recording,
        "recording_state": call.recording_state.value,
        "pausable": call.recording_state in _RECORDED and _pausable(call, policy),
    }
