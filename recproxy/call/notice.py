"""The announcement of one call: due, played, heard by everybody who must hear it, or not. Pure."""

from __future__ import annotations

from typing import Final, assert_never

from recproxy.call import states
from recproxy.call.agreement import Agreement
from recproxy.call.commands import (
    AuditNote,
    Command,
    Note,
    NoticeFacts,
    PlayPrompt,
    SetGate,
    StopPrompt,
    purpose_fields,
)
from recproxy.call.events import LegName, PromptCompleted, PromptStarted
from recproxy.call.keypad import Party
from recproxy.call.legs import Legs
from recproxy.call.states import Notice, Symbol
from recproxy.errors import IllegalEvent
from recproxy.policy import Audience, RecordPlan

_UNDECIDED: Final = frozenset({Notice.WAITING, Notice.DUE, Notice.PLAYING})


class CallNotice:
    """Whether the parties were told.

    Attributes:
        state: Of the notice.
        asked: Whether the prompt was asked for.
        proof: What was heard; None until it was.
        until: When a prompt that reports nothing has failed, monotonic seconds; None for never.
    """

    def __init__(self, legs: Legs, agreement: Agreement, longest_s: float) -> None:
        """Begin with nothing to tell.

        Args:
            legs: Who sits where.
            agreement: What the prompt is played in.
            longest_s: From asking for the prompt to its end.
        """
        self._legs = legs
        self._agreement = agreement
        self._longest_s = longest_s
        self._plan: RecordPlan | None = None
        self._started: PromptStarted | None = None
        self.state = Notice.NOT_REQUIRED
        self.asked = False
        self.proof: NoticeFacts | None = None
        self.until: float | None = None

    @property
    def is_pending(self) -> bool:
        """Whether it must be heard and has not been yet: nobody speaks to the other."""
        return self.state in {Notice.DUE, Notice.PLAYING}

    @property
    def is_undecided(self) -> bool:
        """Whether it may still come to be heard."""
        return self.state in _UNDECIDED

    def take(self, plan: RecordPlan) -> None:
        """A purpose applies: tell them, at once or when staff ask for it."""
        self._plan = plan
        self.state = Notice.WAITING if plan.start else Notice.DUE

    def move(self, symbol: Symbol) -> None:
        """Advance the state.

        Raises:
            IllegalEvent: The state does not allow it.
        """
        self.state = states.advance(states.NOTICE, self.state, symbol)

    def announce(self, now: float) -> list[Command]:
        """Ask for the prompt.

        Raises:
            IllegalEvent: No plan asks for it, or there is nothing to play it in.
        """
        agreement, plan = self._agreement, self._plan
        if plan is None or agreement.selection.recorded is None or agreement.speech is None:
            raise IllegalEvent("a notice is due without a plan")
        self.asked = True
        self.until = now + self._longest_s
        play = PlayPrompt(
            prompt=plan.prompt,
            language=plan.language,
            legs=self._audience(plan),
            stream=agreement.recorded_port(),
            codec=agreement.speech,
            ptime_ms=agreement.ptime_ms(),
        )
        return [play]

    def started(self, event: PromptStarted) -> list[Command]:
        """Its first frame left; empty if nobody waits for that."""
        if self.state is not Notice.DUE or not self.asked:
            return []
        self.move(Symbol.NOTICE_STARTED)
        self._started = event
        fields = purpose_fields(self._plan)
        return [Note("notice.started", fields), AuditNote("announce.started", fields)]

    def unheard_by(self, event: PromptCompleted) -> str:
        """Legs that had to hear it and did not, in words; empty for none.

        Raises:
            IllegalEvent: No plan asked for an announcement.
        """
        if self._plan is None:
            raise IllegalEvent("an announcement ended that no plan asked for")
        return ", ".join(leg.value for leg in self._audience(self._plan) if leg not in event.heard_by)

    def completed(self, event: PromptCompleted) -> list[Command]:
        """Everybody heard it: keep the proof, and let them speak.

        Raises:
            IllegalEvent: It did not begin.
        """
        started = self._started
        if started is None:
            raise IllegalEvent("an announcement ended that did not begin")
        self.move(Symbol.NOTICE_COMPLETED)
        self.until = None
        self.proof = NoticeFacts(
            prompt=event.prompt,
            sha256=event.sha256,
            language=event.language,
            heard_by=event.heard_by,
            started=started.at,
            completed=event.at,
        )
        facts: tuple[tuple[str, str | int], ...] = (
            *purpose_fields(self._plan),
            ("prompt_sha256", event.sha256),
            ("language", event.language),
            ("heard_by", ",".join(leg.value for leg in event.heard_by)),
            ("duration_ms", round((event.at - started.at).total_seconds() * 1000)),
        )
        return [
            Note("notice.completed", facts),
            AuditNote("announce.completed", facts),
            SetGate(opened=True),
        ]

    def fail(self, why: str) -> list[Command]:
        """It will not be heard: stop it, and say why."""
        return [*self._stop(Symbol.NOTICE_FAILED), *self.failure_notes(why)]

    def decline(self) -> list[Command]:
        """A party said no before its end."""
        return self._stop(Symbol.NOTICE_DECLINED)

    def close(self, why: str) -> list[Command]:
        """The call ends: what was asked for and is not over has failed."""
        if not self.is_pending:
            return []
        return self.fail(why) if self.asked else self._stop(Symbol.NOTICE_FAILED)

    def failure_notes(self, why: str) -> list[Command]:
        """What is written of a failure."""
        fields = (*purpose_fields(self._plan), ("why", why))
        return [Note("notice.failed", fields), AuditNote("announce.failed", fields)]

    def _stop(self, symbol: Symbol) -> list[Command]:
        self.move(symbol)
        self.until = None
        return [StopPrompt()] if self.asked else []

    def _audience(self, plan: RecordPlan) -> tuple[LegName, ...]:
        match plan.audience:
            case Audience.BOTH:
                return (LegName.CALLER, LegName.CALLEE)
            case Audience.OUTSIDE:
                return (self._legs.leg(Party.OUTSIDE),)
        assert_never(plan.audience)
