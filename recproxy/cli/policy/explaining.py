"""``recproxy policy explain``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from recproxy.cli.display import Json, fields, instant, print_json, table
from recproxy.cli.options import FILE, json_option
from recproxy.cli.policy.reading import number_from, numbers_from_input, surroundings
from recproxy.config import load
from recproxy.errors import UsageError
from recproxy.policy import (
    CallQuestion,
    ForkAnnouncement,
    Policy,
    PurposeName,
    PurposePlan,
    Record,
    Verdict,
    load_policy,
)
from recproxy.policy.explaining import Explanation
from recproxy.policy.explaining import explain as explained
from recproxy.policy.hidden import EveryCall
from storage.tags import Direction

__all__ = ["explain"]


@click.command("explain")
@click.argument("file", type=FILE, required=False)
@click.option("-c", "--config", type=FILE, help="Configuration file: its policy.")
@click.option(
    "--from", "caller", required=True, metavar="NUMBER", help="Who calls; - reads it from standard input."
)
@click.option(
    "--to", "callee", required=True, metavar="NUMBER", help="Who is called; - reads it from standard input."
)
@click.option(
    "--at", metavar="INSTANT", help="When, as 2026-11-24T12:00+01:00; without a zone in UTC. Default: now."
)
@click.option("--anonymous", is_flag=True, help="The caller withholds the number.")
@click.option("--trunk", default="", metavar="NAME", help="The trunk that the call comes from.")
@click.option(
    "--direction",
    type=click.Choice([way.value for way in Direction]),
    help="Seen from the organisation. Default: outbound if the caller is on a line and the callee is not.",
)
@click.option("--call", metavar="CALL-ID", help="Repeat the draw of a sample. Default: as if it were drawn.")
@json_option
def explain(
    file: Path | None,
    config: Path | None,
    caller: str,
    callee: str,
    at: str | None,
    anonymous: bool,
    trunk: str,
    direction: str | None,
    call: str | None,
    as_json: bool,
) -> None:
    """Tell what the policy of FILE does with a call: rule, purpose, announcement, choice, expiry, and why."""
    when = _instant(at)
    policy = _policy(file, config)
    given = numbers_from_input()
    question = CallQuestion(
        trunk=trunk,
        direction=Direction.INBOUND,
        caller=number_from("--from", caller, given),
        callee=number_from("--to", callee, given),
        anonymous=anonymous,
        sos=False,
        call=call or "",
        day=when.date(),
    )
    question = replace(
        question, direction=Direction(direction) if direction else _direction(policy, question)
    )
    if call is None:
        policy = replace(policy, sampler=EveryCall())
    found = explained(policy, question, when)
    if as_json:
        print_json(_document(policy, question, found))
    else:
        _print(policy, question, found)


def _policy(file: Path | None, config: Path | None) -> Policy:
    if config is not None:
        settings = load(config)
        return load_policy(file or settings.policy, surroundings(tuple(settings.trunks)))
    if file is None:
        raise UsageError("no policy to ask", hint="name a policy file, or a configuration with --config")
    return load_policy(file, surroundings())


def _instant(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"--at {text!r} is not an instant", hint="write 2026-11-24T12:00+01:00") from err
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _direction(policy: Policy, question: CallQuestion) -> Direction:
    outbound = replace(question, direction=Direction.OUTBOUND)
    goes_out = policy.line(question) is None and policy.line(outbound) is not None
    return Direction.OUTBOUND if goes_out else Direction.INBOUND


def _document(policy: Policy, question: CallQuestion, found: Explanation) -> Json:
    made: dict[str, Json] = {
        "policy": policy.version,
        "direction": question.direction.value,
        "recorded": isinstance(found.decision, Record),
        "line": found.line or None,
        "jurisdiction": found.jurisdiction or None,
        "exempt": found.exempt.value if found.exempt is not None else None,
        "purposes": [
            {
                "purpose": verdict.purpose,
                "records": verdict.passed is None,
                "reason": verdict.passed.value if verdict.passed is not None else None,
                "why": verdict.why,
                **_terms(found, verdict),
            }
            for verdict in found.verdicts
        ],
    }
    if not isinstance(found.decision, Record):
        return {**made, "reason": found.decision.why.value}
    plan = found.decision.plan
    return {
        **made,
        "purpose": plan.purpose,
        "legal_basis": plan.legal_basis.value,
        "prompt": plan.prompt,
        "language": plan.language,
        "audience": plan.audience.value,
        "choice": plan.choice.mode.value,
        "expires": instant(found.expires) if found.expires is not None else None,
        "on_failure": plan.on_failure.value,
        **({"fork": _evidence(plan.fork)} if plan.fork is not None else {}),
    }


def _later(one: PurposePlan) -> str:
    return ", and as much later as the recording lasts" if one.from_end else ""


def _evidence(fork: ForkAnnouncement) -> str:
    """What shows that the parties of a forked call (SIPREC) were told."""
    named = " or ".join(sorted(fork.prompts)) or "no prompt, for no one announcement tells of every purpose"
    return f"declared in {fork.ref}" if fork.declared else f"asserted in each call, naming {named}"


def _terms(found: Explanation, verdict: Verdict) -> dict[str, Json]:
    """What a purpose that records the call means for it; empty if it does not."""
    if not isinstance(found.decision, Record):
        return {}
    return {
        key: value
        for one in found.decision.plan.each
        if one.purpose == verdict.purpose
        for key, value in (
            ("legal_basis", one.legal_basis.value),
            ("prompt", one.prompt),
            ("language", one.language),
            ("choice", one.choice.mode.value),
            ("expires", instant(found.at + one.retention)),
            *((("expires_from", "call_end"),) if one.from_end else ()),
        )
    }


def _print(policy: Policy, question: CallQuestion, found: Explanation) -> None:
    rows = [("direction", question.direction.value), ("line", found.line or "none")]
    if found.jurisdiction:
        rows.append(("rules of", found.jurisdiction))
    match found.decision:
        case Record(plan=plan):
            shares = [policy.purposes[PurposeName(one.purpose)].selection.rate for one in plan.each]
            drawn = [share for share in shares if share is not None]
            rows.append(
                ("outcome", "recorded")
                if len(drawn) < len(shares)
                else ("outcome", f"recorded if drawn, a share of {', '.join(f'{one:g}' for one in drawn)}")
            )
            for one, share in zip(plan.each, shares, strict=True):
                often = f", if drawn, a share of {share:g}" if share is not None and plan.purposes[1:] else ""
                rows += [
                    ("purpose", f"{one.purpose}, on {one.legal_basis.value}{often}"),
                    ("announced", f"{one.prompt} in {one.language}, to {one.audience.value}"),
                    ("choice", one.choice.mode.value),
                    ("expires", instant(found.at + one.retention) + _later(one)),
                ]
            rows.append(("on failure", plan.on_failure.value))
            if plan.fork is not None:
                rows.append(("forked here", f"the client announces: {_evidence(plan.fork)}"))
        case passed:
            rows.append(("outcome", f"not recorded: {passed.why.value}"))
    fields([*rows, ("policy", policy.version)])
    if found.verdicts:
        table(("purpose", "says"), ((verdict.purpose, verdict.why) for verdict in found.verdicts))
