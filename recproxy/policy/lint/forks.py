"""Rules about announcements that a recording client plays (SIPREC), not recproxy: E021 and W114."""

from __future__ import annotations

from recproxy.policy.decision import OnFailure, StaffNotice
from recproxy.policy.forks import Evidence, ForkAnnounce
from recproxy.policy.lint.findings import Lint
from recproxy.policy.purpose import Purpose, PurposeName, SelectionMode

__all__ = ["check_forks", "warn_forks"]


def check_forks(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    """Refuse a fork that nobody vouches for, and what cannot be done in one."""
    fork = purpose.announce.fork
    if fork is None:
        return
    key = ("purposes", name, "announce", "fork")
    if not fork.trunks:
        lint.error("E021", (*key, "trunks"), "empty; name the trunks whose recording client announces")
    for at, trunk in enumerate(fork.trunks):
        if lint.around.trunks is not None and trunk not in lint.around.trunks:
            known = ", ".join(lint.around.trunks) or "none"
            lint.error("E021", (*key, "trunks", at), f"no trunk is called {trunk!r}; there are {known}")
    if fork.evidence is Evidence.DECLARED:
        _check_declaration(lint, name, fork)
    if purpose.selection.mode is SelectionMode.MANUAL:
        lint.error(
            "E021",
            ("purposes", name, "selection", "mode"),
            "'manual' begins with an announcement that recproxy cannot play into a fork; "
            "let the client begin the fork when staff ask for it, and set all",
        )
    if purpose.announce.staff is not StaffNotice.ANNOUNCEMENT:
        lint.error(
            "E021",
            ("purposes", name, "announce", "staff"),
            f"{purpose.announce.staff.value!r} is a sound that recproxy cannot play into a fork; "
            "let staff hear the announcement: set announcement with audience: both",
        )


def _check_declaration(lint: Lint, name: PurposeName, fork: ForkAnnounce) -> None:
    key = ("purposes", name, "announce", "fork")
    for what, given in (("authorised_by", fork.authorised_by), ("ref", fork.ref), ("date", fork.date)):
        if not given:
            lint.error(
                "E021",
                (*key, what),
                "missing: a declaration that the parties are told needs who, where written and when; "
                "give it, or set evidence: asserted",
            )
    if fork.date is not None and fork.date > lint.around.today:
        lint.error(
            "E021", (*key, "date"), f"{fork.date} is to come; a declaration holds from the day it is made"
        )


def warn_forks(lint: Lint, name: PurposeName, purpose: Purpose) -> None:
    """Note what deserves a look."""
    fork = purpose.announce.fork
    if fork is None:
        return
    if fork.evidence is Evidence.DECLARED:
        lint.warn(
            "W114",
            ("purposes", name, "announce", "fork", "evidence"),
            "'declared': no call shows by itself that its parties were told; set asserted if the client can",
        )
    if purpose.failure.recorder_down is OnFailure.REFUSE:
        lint.warn(
            "W114",
            ("purposes", name, "failure", "recorder_down"),
            "'block_call' cannot end a call that is forked to us: only the fork is refused; "
            "let the client end it",
        )
