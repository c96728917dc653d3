"""What the policy makes of the term of a recording that exists: shorter at once, longer by a tag; pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from recproxy.policy.file import PolicyFile
from recproxy.policy.purpose import Purpose, PurposeName, RetentionStart

__all__ = ["PromotionRefused", "is_from_end", "promoted_keep", "term_of"]

_NO_PROMOTION: Final = "take a tag that retention.promote of the purpose declares"


class PromotionRefused(Exception):  # noqa: N818 - named for what it is
    """A recording may not be kept longer.

    Attributes:
        mend: What would help.
    """

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.mend = mend


def term_of(purpose: Purpose) -> tuple[timedelta, dict[str, timedelta], bool]:
    """How long recordings of a purpose are kept: without a tag, by tag, and whether from their end."""
    retention = purpose.retention
    promote = retention.promote
    by_tag = {} if promote is None else {promote.tag: promote.keep}
    return retention.keep, by_tag, retention.start is RetentionStart.CALL_END


def is_from_end(announced: PolicyFile, current: PolicyFile, purpose: str) -> bool:
    """Whether a recording's term counts from its end: its parties were told so, and it still does."""
    found = [file.purposes.get(PurposeName(purpose)) for file in (announced, current)]
    return all(one is not None and term_of(one)[2] for one in found)


def promoted_keep(
    announced: PolicyFile, current: PolicyFile, purpose: str, tag: str, kept: timedelta
) -> timedelta:
    """Tell how long a recording is kept once it has a tag.

    The people in it were told the terms of the policy that it was made under, so both
    that one and the one in force must declare the tag, and the shorter term holds.

    Args:
        announced: The policy that the recording was made under.
        current: The policy in force.
        purpose: Of the recording; a tag promotes within it alone.
        tag: The tag.
        kept: Its term so far, from the instant that both policies count from.

    Raises:
        PromotionRefused: One of them does not declare the tag, or a country's rule
            made the term of this recording shorter than that of its purpose.
    """
    found = [_declared(file, purpose, tag) for file in (announced, current)]
    usual = min(file.purposes[PurposeName(purpose)].retention.keep for file in (announced, current))
    if kept < usual:
        raise PromotionRefused(
            f"a country's rule keeps this recording for a shorter time than {purpose} does, with a tag too",
            "place a legal hold if it is needed for a dispute",
        )
    keep = min(found)
    if keep <= kept:
        raise PromotionRefused(f"it is kept that long already, without the tag {tag}", "leave it as it is")
    return keep


def _declared(file: PolicyFile, purpose: str, tag: str) -> timedelta:
    found = file.purposes.get(PurposeName(purpose))
    if found is None:
        raise PromotionRefused(f"the policy has no purpose {purpose}", _NO_PROMOTION)
    promote = found.retention.promote
    if promote is None or promote.tag != tag:
        known = "none" if promote is None else repr(promote.tag)
        raise PromotionRefused(
            f"the purpose {purpose} declares no such tag, callers were not told of it; declared: {known}",
            _NO_PROMOTION,
        )
    return promote.keep
