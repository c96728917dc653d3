"""Rules about the policy as a whole: E009, E010, E015, E016, E018 to E020."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import combinations
from typing import Final

from recproxy.config import Key
from recproxy.policy.emergency import Country
from recproxy.policy.file import Line, Orders
from recproxy.policy.lint.findings import Lint
from recproxy.policy.lint.purposes import shown
from recproxy.policy.purpose import PurposeName

__all__ = ["check_whole"]

_KEYS: Final = re.compile(r"[0-9*#]{1,8}\Z")
_EEA: Final = frozenset(
    [
        "AT",
        "BE",
        "BG",
        "HR",
        "CY",
        "CZ",
        "DK",
        "EE",
        "FI",
        "FR",
        "DE",
        "GR",
        "HU",
        "IE",
        "IT",
        "LV",
        "LT",
        "LU",
        "MT",
        "NL",
        "PL",
        "PT",
        "RO",
        "SK",
        "SI",
        "ES",
        "SE",
        "IS",
        "LI",
        "NO",
    ]
)


def check_whole(lint: Lint) -> None:
    """Apply the rules that concern several parts at once."""
    _check_form(lint)
    _check_lines(lint)
    _check_scopes(lint)
    _check_exempt(lint)
    _check_keys(lint)
    _check_reviewers(lint)
    _check_roles(lint)
    _check_places(lint)
    _check_backups(lint)
    _check_controller(lint)


def _check_form(lint: Lint) -> None:
    if not lint.file.languages:
        lint.error("E001", ("languages",), "empty; name the languages of the announcements, such as nl")
    for name, prompt in lint.file.prompts.items():
        if bool(prompt.text) == bool(prompt.file):
            lint.error("E001", ("prompts", name), "neither or both of text and file; give one")
    drawn = [name for name, one in lint.file.purposes.items() if one.selection.rate is not None]
    if drawn and not lint.file.sample_key_file:
        lint.error(
            "E001",
            ("sample_key_file",),
            f"missing, but {drawn[0]} draws a sample; make one with: openssl rand -hex 32",
        )


def _check_lines(lint: Lint) -> None:
    for name, line in lint.file.lines.items():
        key = ("lines", name)
        for what, held in (
            ("entitled_party", line.entitled_party),
            ("authorised_by", line.authorised_by),
            ("authorised_on", line.authorised_on),
        ):
            if not held:
                lint.error(
                    "E009",
                    (*key, what),
                    "missing: only the holder of the subscription may order a recording "
                    "(art. 139c Sr); write down who did, and when",
                )
        if line.authorised_on is not None and line.authorised_on > lint.around.today:
            lint.error(
                "E009", (*key, "authorised_on"), f"{line.authorised_on} is yet to come; wait, or mend it"
            )
        if not line.match:
            lint.error("E009", (*key, "match"), "empty; name the numbers of the line")
        trunks = lint.around.trunks
        if trunks is not None and line.trunk is not None and line.trunk not in trunks:
            lint.error("E009", (*key, "trunk"), f"{line.trunk!r} is not one of {', '.join(trunks)}")
    for (one, mine), (other, theirs) in combinations(lint.file.lines.items(), 2):
        if _meet(lint, mine, theirs):
            lint.error(
                "E009",
                ("lines", other, "match"),
                f"overlaps line {one} in line {lint.document.line(('lines', one))}; "
                "give each number to one line",
            )


def _meet(lint: Lint, mine: Line, theirs: Line) -> bool:
    if mine.trunk is not None and theirs.trunk is not None and mine.trunk != theirs.trunk:
        return False
    numbering = lint.file.numbering
    return any(
        one.canonical(numbering).overlaps(other.canonical(numbering))
        for one in mine.match
        for other in theirs.match
    )


def _check_scopes(lint: Lint) -> None:
    for name, purpose in lint.file.purposes.items():
        key = ("purposes", name, "scope")
        for at, line in enumerate(purpose.scope.lines):
            if line not in lint.file.lines:
                known = ", ".join(lint.file.lines) or "none"
                lint.error(
                    "E009", (*key, "lines", at), f"{line!r} is no line; name one of lines, which has {known}"
                )
        for what in ("lines", "directions"):
            if not getattr(purpose.scope, what):
                lint.error("E009", (*key, what), "empty, so that it never records; name one, or take it out")


def _check_exempt(lint: Lint) -> None:
    exempt = lint.file.exempt
    if exempt is None:
        lint.error(
            "E010", ("exempt",), "missing; write exempt: {} for the built-in emergency numbers and help lines"
        )
        return
    builtin = exempt.emergency.builtin
    if Country.EU not in builtin:
        lint.error("E010", ("exempt", "emergency", "builtin"), "lacks EU, whose number is 112; add it")
    used = [lint.file.jurisdictions.default, *(line.jurisdiction for line in lint.file.lines.values())]
    for country in dict.fromkeys(used):
        if country is not None and country not in builtin:
            lint.error(
                "E010",
                ("exempt", "emergency", "builtin"),
                f"lacks {country.value}, where lines are; add it",
            )


def _bound(lint: Lint, name: PurposeName) -> Iterator[tuple[str, str, Key]]:
    """Each key string, what it does, and where it stands."""
    purpose, key = lint.file.purposes[name], ("purposes", name)
    for at, keys in enumerate(purpose.choice.keys):
        yield keys, purpose.choice.mode.value, (*key, "choice", "keys", at)
    for at, keys in enumerate(purpose.choice.staff_keys):
        yield keys, "staff refuse", (*key, "choice", "staff_keys", at)
    selection = purpose.selection
    for use, where, bound in (("start", "keys", selection.keys), ("stop", "stop_keys", selection.stop_keys)):
        yield from ((keys, use, (*key, "selection", where, at)) for at, keys in enumerate(bound))
    if purpose.consent is not None:
        for at, keys in enumerate(purpose.consent.keys):
            yield keys, "consent", (*key, "consent", "keys", at)
    if purpose.decline is not None:
        for at, keys in enumerate(purpose.decline.keys):
            yield keys, "decline", (*key, "decline", "keys", at)
    if purpose.pause.payment is not None:
        for at, keys in enumerate(purpose.pause.payment.keys):
            yield keys, "pause", (*key, "pause", "payment", "keys", at)


def _languages(lint: Lint, name: PurposeName) -> Iterator[tuple[str, str, Key]]:
    for keys, language in lint.file.purposes[name].announce.language_keys.items():
        yield keys, f"language {language}", ("purposes", name, "announce", "language_keys", keys)


def _check_keys(lint: Lint) -> None:
    taken: dict[tuple[str, str], tuple[str, int]] = {}
    for name, purpose in lint.file.purposes.items():
        for keys, use, key in (*_bound(lint, name), *_languages(lint, name)):
            if not _KEYS.match(keys):
                lint.error("E015", key, f"{keys!r} is not of the keys 0 to 9, * and #; choose such")
            for line in purpose.scope.lines:
                other, at = taken.setdefault((line, keys), (use, lint.document.line(key)))
                if other != use:
                    lint.error(
                        "E015", key, f"{keys!r} is {use} here and {other} in line {at}; give each its own"
                    )
                    break


def _check_reviewers(lint: Lint) -> None:
    """Somebody must be able to say that an order of an authority is valid."""
    reviewers = lint.file.authority.reviewers
    role = lint.file.roles.get(reviewers)
    if role is None and lint.file.authority != Orders():
        known = ", ".join(lint.file.roles) or "none"
        lint.error(
            "E016",
            ("authority", "reviewers"),
            f"{reviewers!r} is no role; name one of roles, which has {known}",
        )
    elif role is None or not role.users:
        lint.warn(
            "W116",
            ("roles",) if role is None else ("roles", reviewers),
            f"nobody has the role {reviewers}: an order of an authority could not be reviewed; name a lawyer",
        )


def _check_roles(lint: Lint) -> None:
    for name, purpose in lint.file.purposes.items():
        key = ("purposes", name, "playback")
        if not purpose.playback.roles:
            lint.error("E016", (*key, "roles"), "empty; name who may listen")
        for at, role in enumerate(purpose.playback.roles):
            if role not in lint.file.roles:
                known = ", ".join(lint.file.roles) or "none"
                lint.error(
                    "E016", (*key, "roles", at), f"{role!r} is no role; name one of roles, which has {known}"
                )
        for at, use in enumerate(purpose.playback.uses):
            if use not in lint.file.purposes:
                lint.error(
                    "E016", (*key, "uses", at), f"{use!r} is no purpose; name one that callers are told"
                )


def _check_places(lint: Lint) -> None:
    for name, purpose in lint.file.purposes.items():
        key = ("purposes", name)
        for at, transfer in enumerate(purpose.transfers):
            if transfer.country not in _EEA and not transfer.safeguard:
                lint.error(
                    "E018",
                    (*key, "transfers", at, "safeguard"),
                    f"missing for {transfer.country}, which is outside the EEA (GDPR art. 44 to 49); "
                    "name adequacy, scc or bcr with its reference",
                )
        if purpose.storage.location not in _EEA:
            lint.error(
                "E018",
                (*key, "storage", "location"),
                f"{purpose.storage.location} is outside the EEA; keep recordings inside it",
            )


def _check_backups(lint: Lint) -> None:
    shortest: dict[str, timedelta] = {}
    for name, purpose in lint.file.purposes.items():
        group = purpose.storage.key_group
        if group not in lint.file.key_groups:
            known = ", ".join(lint.file.key_groups) or "none"
            lint.error(
                "E019",
                ("purposes", name, "storage", "key_group"),
                f"{group!r} is none of key_groups, which has {known}, so its backups are unknown; name it",
            )
        shortest[group] = min(purpose.retention.keep, shortest.get(group, timedelta.max))
    for group, facts in lint.file.key_groups.items():
        keep = shortest.get(group)
        if keep is not None and facts.backup_horizon > keep:
            lint.error(
                "E019",
                ("key_groups", group, "backup_horizon"),
                f"{shown(facts.backup_horizon)} is longer than the group's shortest term, {shown(keep)}: "
                "shredded recordings would come back; shorten it",
            )


def _check_controller(lint: Lint) -> None:
    for what, held in (
        ("contact", lint.file.controller.contact),
        ("privacy_url", lint.file.controller.privacy_url),
    ):
        if not held:
            lint.error(
                "E020", ("controller", what), "missing: people must know whom to ask (GDPR art. 13); give it"
            )
