"""The announcements of one call: due, played, heard by everybody who must hear them, or not. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
from recproxy.policy import Audience, RecordPlan, Words

_SWITCHES: Final = 3  # of the language in one call: nobody speaks meanwhile
_UNDECIDED: Final = frozenset({Notice.WAITING, Notice.DUE, Notice.PLAYING})


class CallNotice:
    """Whether the parties were told, of every purpose: one announcement after the other.

    Attributes:
        state: Of all announcements together.
        asked: Whether a prompt was asked for.
        proofs: What was heard so far, by purpose.
        repeated: Whether it is for somebody who joined.
        further: Purposes that staff asked for beside others that were told before; none if it is not
            of such.
        until: When a prompt that reports nothing has failed, monotonic seconds; None for never.
    """

    def __init__(self, legs: Legs, agreement: Agreement, longest_s: float) -> None:
        """Begin with nothing to tell.

        Args:
            legs: Who sits where.
            agreement: What the prompts are played in.
            longest_s: From asking for a prompt to its end.
        """
        self._legs = legs
        self._agreement = agreement
        self._longest_s = longest_s
        self._plan: RecordPlan | None = None
        self._untold: tuple[Words, ...] = ()
        self._started: PromptStarted | None = None
        self._silent = False
        self._switches = 0
        self._joined: LegName | None = None
        self.repeated = False
        self.further: tuple[str, ...] = ()
        self.state = Notice.NOT_REQUIRED
        self.asked = False
        self.proofs: Mapping[str, NoticeFacts] = {}
        self.until: float | None = None

    @property
    def is_pending(self) -> bool:
        """Whether something must be heard and has not been yet: nobody speaks to the other."""
        return self.state in {Notice.DUE, Notice.PLAYING}

    @property
    def is_undecided(self) -> bool:
        """Whether it may still come to be heard."""
        return self.state in _UNDECIDED

    @property
    def told_of(self) -> tuple[str, ...]:
        """Purposes of the announcement that is being played, or is next."""
        return self._untold[0].purposes if self._untold else ()

    def take(self, plan: RecordPlan) -> None:
        """Purposes apply: tell them, at once or when staff ask for it."""
        self._plan = plan
        self._untold = plan.announcements_of([one.purpose for one in plan.each if not one.start])
        self.state = Notice.DUE if self._untold else Notice.WAITING

    def ask(self, purposes: tuple[str, ...], now: float) -> list[Command]:
        """Staff ask for these purposes: they are due, and nobody speaks until they were told.

        Raises:
            IllegalEvent: The state does not allow it.
        """
        further = self.state is Notice.COMPLETED
        self.move(Symbol.NOTICE_REPEATED if further else Symbol.NOTICE_ASKED)
        self.further = purposes if further else ()
        self._untold = self._plan.announcements_of(purposes) if self._plan is not None else ()
        return [SetGate(opened=False), *self.announce(now)]

    def move(self, symbol: Symbol) -> None:
        """Advance the state.

        Raises:
            IllegalEvent: The state does not allow it.
        """
        self.state = states.advance(states.NOTICE, self.state, symbol)

    def announce(self, now: float) -> list[Command]:
        """Ask for the prompt that is next.

        Raises:
            IllegalEvent: No plan asks for it, or there is nothing to play it in.
        """
        agreement = self._agreement
        if not self._untold or agreement.selection.recorded is None or agreement.speech is None:
            raise IllegalEvent("a notice is due without a plan")
        words = self._untold[0]
        self.asked = True
        self._started = None
        self._silent = True
        self.until = now + self._longest_s
        play = PlayPrompt(
            prompt=words.prompt,
            language=words.language,
            legs=self._listeners(words),
            stream=agreement.recorded_port(),
            codec=agreement.speech,
            ptime_ms=agreement.ptime_ms(),
        )
        return [play]

    def started(self, event: PromptStarted) -> list[Command]:
        """Its first frame left; empty if nobody waits for that."""
        if not self.is_pending or not self.asked or self._started is not None:
            return []
        if self.state is Notice.DUE:
            self.move(Symbol.NOTICE_STARTED)
        self._started = event
        fields = self._fields()
        return [Note("notice.started", fields), AuditNote("announce.started", fields)]

    def awaits(self, event: PromptCompleted) -> bool:
        """Whether this is the end of the prompt that is being played; one that was stopped may cross."""
        if self.state is not Notice.PLAYING or self._started is None or not self._untold:
            return False
        return (event.prompt, event.language) == (self._untold[0].prompt, self._untold[0].language)

    def unheard_by(self, event: PromptCompleted) -> str:
        """Legs that had to hear it and did not, in words; empty for none.

        Raises:
            IllegalEvent: No plan asked for an announcement.
        """
        if not self._untold:
            raise IllegalEvent("an announcement ended that no plan asked for")
        return ", ".join(leg.value for leg in self._listeners(self._untold[0]) if leg not in event.heard_by)

    def completed(self, event: PromptCompleted, now: float) -> list[Command]:
        """Everybody heard it: keep the proof, and play the next one if there is one.

        Raises:
            IllegalEvent: It did not begin.
        """
        started = self._started
        if started is None:
            raise IllegalEvent("an announcement ended that did not begin")
        proof = NoticeFacts(
            prompt=event.prompt,
            sha256=event.sha256,
            language=event.language,
            heard_by=event.heard_by,
            started=started.at,
            completed=event.at,
        )
        facts: tuple[tuple[str, str | int], ...] = (
            *self._fields(),
            ("prompt_sha256", event.sha256),
            ("language", event.language),
            ("heard_by", ",".join(leg.value for leg in event.heard_by)),
            ("duration_ms", round((event.at - started.at).total_seconds() * 1000)),
        )
        told = dict.fromkeys(self.told_of, proof)
        # What is told to somebody who joined began after the first; what staff ask for anew, after the last.
        self.proofs = {**told, **self.proofs} if self.repeated else {**self.proofs, **told}
        self._untold = self._untold[1:]
        return [Note("notice.completed", facts), AuditNote("announce.completed", facts), *self._go_on(now)]

    def skip(self, gone: Collection[str], now: float) -> list[Command]:
        """Purposes that a party said no to need not be told of; the rest is told on."""
        playing = self._untold[:1] if self.asked and self.is_pending else ()
        self._untold = tuple(words for words in self._untold if not set(words.purposes) <= set(gone))
        if not playing or self._untold[:1] == playing:
            return []
        return [StopPrompt(), *self._go_on(now)]

    def switch(self, plan: RecordPlan, purposes: Collection[str], now: float) -> list[Command]:
        """Say it in another language from the beginning; empty if there is nothing to say so.

        Args:
            plan: The plan in that language.
            purposes: Those that it is said for: asked for, and refused by nobody.
            now: Monotonic seconds.
        """
        told = self.further or purposes
        before = self._plan.announcements_of(told) if self._plan is not None else ()
        left = plan.announcements_of(told)
        anew = {purpose for words in left if words not in before for purpose in words.purposes}
        if not anew or not self.is_pending or not self.asked or self._switches >= _SWITCHES:
            return []
        self._switches += 1
        self._untold = tuple(words for words in left if words in self._untold or words not in before)
        if not self.repeated:  # else they were told of what is recorded already
            self.proofs = {purpose: proof for purpose, proof in self.proofs.items() if purpose not in anew}
        self._plan = plan
        if self.state is Notice.PLAYING:
            self.move(Symbol.NOTICE_REPEATED)
        switched = Note("notice.switched", (*self._fields(), ("language", self._untold[0].language)))
        return [StopPrompt(), switched, *self.announce(now)]

    def repeat(self, leg: LegName, purposes: Collection[str]) -> list[Command]:
        """Somebody joined at ``leg`` who must hear it too: it is due once more.

        Args:
            leg: Where.
            purposes: Those that nobody said no to.

        Raises:
            IllegalEvent: The state does not allow it.
        """
        # While it is played, not everybody else has heard it either.
        self._joined = None if self.is_pending and self._joined is not leg else leg
        self._untold = self._plan.announcements_of(purposes) if self._plan is not None else ()
        self.repeated, self.further = True, ()
        return self.put_off()

    def put_off(self) -> list[Command]:
        """It is due still, and not played until it is asked for again."""
        if self.state is not Notice.DUE:
            self.move(Symbol.NOTICE_REPEATED)
        stopped: list[Command] = [StopPrompt()] if self.until is not None else []
        self.asked = False
        self.until = None
        return stopped

    @property
    def is_put_off(self) -> bool:
        """Whether somebody who joined waits for it."""
        return self.repeated and self.state is Notice.DUE and not self.asked

    def let_speak(self) -> list[Command]:
        """Open the gate that was shut for the announcements, once."""
        if not self._silent:
            return []
        self._silent = False
        return [SetGate(opened=True)]

    def fail(self, why: str) -> list[Command]:
        """It will not be heard: stop it, and say why."""
        return [*self._stop(Symbol.NOTICE_FAILED), *self.failure_notes(why)]

    def decline(self) -> list[Command]:
        """A party said no before its end, and nothing is left to record for."""
        self.further = ()
        return self._stop(Symbol.NOTICE_DECLINED)

    def leave_off(self, why: str) -> list[Command]:
        """What staff asked for is not told to its end; what was told before stands."""
        fields = (("purpose", ",".join(self.further)), ("why", why))
        self.further = ()
        notes: list[Command] = [Note("notice.left_off", fields), AuditNote("announce.failed", fields)]
        return [*self._stop(Symbol.NOTICE_KEPT), *notes]

    def set_aside(self) -> list[Command]:
        """Nothing is left to tell of but what staff may ask for."""
        if self.state is Notice.WAITING:
            return []
        stopped = self._stop(Symbol.NOTICE_SET_ASIDE)
        self.asked, self.repeated, self._joined, self.further = False, False, None, ()
        return stopped

    def close(self, why: str) -> list[Command]:
        """The call ends: what was asked for and is not over has failed."""
        if not self.is_pending:
            return []
        if self.further:
            return self.leave_off(why)
        return self.fail(why) if self.asked else self._stop(Symbol.NOTICE_FAILED)

    def failure_notes(self, why: str) -> list[Command]:
        """What is written of a failure."""
        fields = (*purpose_fields(self._plan), ("why", why))
        return [Note("notice.failed", fields), AuditNote("announce.failed", fields)]

    def _go_on(self, now: float) -> list[Command]:
        """Play what is next; nothing is: all were told."""
        if self._untold:
            return self.announce(now)
        self.move(Symbol.NOTICE_COMPLETED)
        self.until = None
        self._joined, self.repeated = None, False
        self.further = ()
        return []

    def _fields(self) -> tuple[tuple[str, str], ...]:
        return (("purpose", ",".join(self.told_of)),)

    def _stop(self, symbol: Symbol) -> list[Command]:
        playing = self.asked and self.until is not None
        self.move(symbol)
        self.until = None
        return [StopPrompt()] if playing else []

    def _listeners(self, words: Words) -> tuple[LegName, ...]:
        return self._audience(words) if self._joined is None else (self._joined,)

    def _audience(self, words: Words) -> tuple[LegName, ...]:
        match words.audience:
            case Audience.BOTH:
                return (LegName.CALLER, LegName.CALLEE)
            case Audience.OUTSIDE:
                return tuple(leg for leg in LegName if self._legs.speaker(leg) is Party.OUTSIDE)
        assert_never(words.audience)
