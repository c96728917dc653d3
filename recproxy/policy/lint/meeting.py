"""Purposes that can meet in one call: what then becomes of what each of them says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from recproxy.config import Key
from recproxy.policy.decision import ChoiceMode, OnFailure
from recproxy.policy.file import PolicyFile
from recproxy.policy.lint.findings import Lint
from recproxy.policy.purpose import Index, Language, LineName, PromptId, Purpose, PurposeName

__all__ = ["meeting", "warn_meeting"]


def meeting(file: PolicyFile) -> Iterator[tuple[PurposeName, PurposeName, LineName]]:
    """Each two purposes that one call can be for, and the first line on which it can."""
    for (one, mine), (other, theirs) in combinations(file.purposes.items(), 2):
        shared = set(mine.scope.lines) & set(theirs.scope.lines)
        named = mine.selection.topic or theirs.selection.topic  # a call is for what is named, or the rest
        if not named and shared and set(mine.scope.directions) & set(theirs.scope.directions):
            yield one, other, min(shared)


def warn_meeting(lint: Lint) -> None:
    """Note what the strictest of two purposes makes of the other."""
    purposes = lint.file.purposes
    for one, other, line in meeting(lint.file):
        for name, key, what in _consequences(lint, (one, purposes[one]), (other, purposes[other])):
            met = other if name == one else one
            told = f"a call on line {line} can be for {met} too: {what}"
            lint.warn("W115", ("purposes", name, *key), told)


def _consequences(
    lint: Lint, mine: tuple[PurposeName, Purpose], theirs: tuple[PurposeName, Purpose]
) -> Iterator[tuple[PurposeName, Key, str]]:
    """Of which purpose, at which key of it, and what becomes of that."""
    (one, first), (other, second) = mine, theirs
    if first.selection.keys != second.selection.keys:
        yield from _later(mine, theirs)
        return
    yield other, ("scope",), _announced(lint, first, second)
    asking = [(name, each) for name, each in (mine, theirs) if each.choice.mode is ChoiceMode.OPT_IN]
    if len(asking) == 1:
        name, purpose = asking[0]
        left, rest = (other, second) if name == one else (one, first)
        seconds = purpose.choice.timeout.total_seconds()
        if rest.choice.mode is ChoiceMode.NONE:
            what = (
                f"the parties hear nothing of each other for up to {seconds:g} s, until {name} has its yes "
                f"or not, since {left} records without one; shorten choice.timeout"
            )
        else:
            what = f"it is then recorded for {left} on a yes alone too, silence is no"
        yield name, ("choice", "mode"), what
    if {first.access.index, second.access.index} == {Index.NONE, Index.NUMBER}:
        name = one if first.access.index is Index.NONE else other
        what = "a number finds it, for as long as the other purpose lives"
        yield name, ("access", "index"), what


def _later(
    mine: tuple[PurposeName, Purpose], theirs: tuple[PurposeName, Purpose]
) -> Iterator[tuple[PurposeName, Key, str]]:
    """What becomes of the one that staff start while the other is recorded."""
    name, purpose = mine if mine[1].selection.keys else theirs
    yield (
        name,
        ("selection", "keys"),
        "staff start it while that is recorded: it is announced then, and another recording goes on",
    )
    if purpose.failure.recorder_down is OnFailure.REFUSE:
        yield (
            name,
            ("failure", "recorder_down"),
            "a call that goes on for the other is not ended if this one cannot be announced",
        )


def _announced(lint: Lint, first: Purpose, second: Purpose) -> str:
    texts = {(prompt, language) for language, prompt in first.announce.prompts.items()}
    same = texts & {(prompt, language) for language, prompt in second.announce.prompts.items()}
    if same:
        prompt, language = min(same)
        if first.scope != second.scope or first.selection.rate != second.selection.rate:
            return (
                f"{prompt!r} in {language} announces both at once, and also tells of both where one alone "
                "applies; give each words of its own, or both the same calls"
            )
        return f"{prompt!r} in {language} announces both at once"
    known = lint.around.seconds or {}
    language = lint.file.languages[0] if lint.file.languages else Language("")
    lengths = [
        known.get((each.announce.prompts.get(language, PromptId("")), language), 0.0)
        for each in (first, second)
    ]
    took = f", {sum(lengths):.1f} s in {language}" if all(lengths) else ""
    return f"both are announced, one after the other{took}; one text that names both is shorter"
