"""What shows that the parties of a forked call were told: the client's word, or a declaration. Pure."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import assert_never

from recproxy.call import states
from recproxy.call.commands import AuditNote, Command, Note, NoticeFacts, purpose_fields
from recproxy.call.events import ForkNotice, LegName
from recproxy.call.keypad import Party
from recproxy.call.legs import Legs
from recproxy.call.states import ForkTold, Symbol
from recproxy.errors import IllegalEvent
from recproxy.policy import Audience, RecordPlan
from storage.tags import CLIENTS_PROMPT

__all__ = ["ForkEvidence"]


class ForkEvidence:
    """Whether the parties were told, and by what we know.

    Attributes:
        state: Of it.
        proof: What goes with the recording; None until something shows that they were told.
    """

    def __init__(self, legs: Legs) -> None:
        """Begin with none.

        Args:
            legs: Who sits where.
        """
        self._legs = legs
        self._plan: RecordPlan | None = None
        self.state = ForkTold.DUE
        self.proof: NoticeFacts | None = None

    def take(self, plan: RecordPlan) -> None:
        """A purpose applies."""
        self._plan = plan

    def why_not(self, notice: ForkNotice | None) -> str:
        """Why nothing shows, nor will show, that the parties are told; empty if something does."""
        plan = self._plan
        fork = plan.fork if plan is not None else None
        if plan is None or fork is None:
            return "the policy names nobody who announces in forks of this trunk"
        if notice is None:
            return "" if fork.declared else "the recording client says nothing of an announcement"
        if not notice.completed:
            return ""  # it will say so later
        if notice.prompt not in fork.prompts and not (fork.declared and not notice.prompt):
            return "the recording client names no announcement of the purpose"
        heard = notice.heard_by or self._audience(plan)
        missing = [leg.value for leg in self._audience(plan) if leg not in heard]
        return f"not heard by {', '.join(missing)}" if missing else ""

    def hear(self, notice: ForkNotice | None, at: datetime) -> list[Command]:
        """Keep what shows that the parties were told; empty if that is still to come.

        Args:
            notice: What the client said; None for the declaration.
            at: When it came.

        Raises:
            IllegalEvent: No plan asks for it.
        """
        plan = self._plan
        if plan is None or plan.fork is None:
            raise IllegalEvent("an announcement that no plan asked for")
        if notice is not None and not notice.completed:
            return []
        prompt, language, heard_by = plan.prompt, plan.language, self._audience(plan)
        evidence, digest = "declared", plan.fork.sha256
        ref: tuple[tuple[str, str], ...] = (("ref", plan.fork.ref),)
        if notice is not None:
            prompt, language = notice.prompt or prompt, notice.language or language
            heard_by = notice.heard_by or heard_by
            evidence, digest = "asserted", hashlib.sha256(notice.text.encode()).hexdigest()
            ref = ()
        self._move(Symbol.NOTICE_ASSERTED)
        self.proof = NoticeFacts(CLIENTS_PROMPT + prompt, digest, language, heard_by, at, at)
        said = (
            *purpose_fields(plan),
            ("prompt", prompt),
            ("language", language),
            ("heard_by", ",".join(leg.value for leg in heard_by)),
        )
        proof = (("by", "src"), ("evidence", evidence), ("evidence_sha256", digest), *ref)
        return [
            Note("notice.asserted", (*said, ("what", evidence))),
            AuditNote("announce.asserted", (*said, *proof)),
        ]

    def fail(self, why: str) -> list[Command]:
        """What is written of a fork that nothing shows to be announced."""
        self._move(Symbol.NOTICE_FAILED)
        fields = (*purpose_fields(self._plan), ("why", why))
        return [Note("notice.failed", fields), AuditNote("announce.failed", fields)]

    def decline(self) -> None:
        """A party said no."""
        self._move(Symbol.NOTICE_DECLINED)

    def _audience(self, plan: RecordPlan) -> tuple[LegName, ...]:
        match plan.audience:
            case Audience.BOTH:
                return (LegName.CALLER, LegName.CALLEE)
            case Audience.OUTSIDE:
                return (self._legs.leg(Party.OUTSIDE),)
        assert_never(plan.audience)

    def _move(self, symbol: Symbol) -> None:
        self.state = states.advance(states.FORK_TOLD, self.state, symbol)
