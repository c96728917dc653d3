"""What the law of a country wants of a recording, beyond the GDPR; the stricter rule wins.

Germany and Austria want an act of consent, but for what a statute orders (resolution of the German
data protection conference, 23 March 2018). Denmark wants one for training (Datatilsynet, 11 April
2019). Belgium wants a quality recording kept no longer than a month, and the term said (Electronic
Communications Act art. 128). France has a training recording kept six months at most, and proof of
a contract recorded by hand and not as a rule (CNIL). What is not known here is taken as strictly as
the strictest of those that are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from recproxy.policy.emergency import Country
from recproxy.policy.purpose import Kind, Purpose

__all__ = ["STRICTEST", "Profile", "effective", "profile_of", "together"]

_ALL_BUT_STATUTORY: Final = frozenset(Kind) - {Kind.STATUTORY}
_MONTH: Final = timedelta(days=30)
_SIX_MONTHS: Final = timedelta(days=180)


@dataclass(frozen=True, slots=True)
class Profile:
    """Rules of one country, or of several together.

    Attributes:
        name: Of the country or countries.
        opt_in: Kinds of purposes that need an act of consent.
        caps: Longest term, by kind.
        term_spoken: Kinds whose announcement must say the term.
        manual: Kinds that staff must start by hand.
    """

    name: str
    opt_in: frozenset[Kind] = frozenset()
    caps: Mapping[Kind, timedelta] = field(default_factory=dict)
    term_spoken: frozenset[Kind] = frozenset()
    manual: frozenset[Kind] = frozenset()


_PROFILES: Final = {
    profile.name: profile
    for profile in (
        Profile("AT", opt_in=_ALL_BUT_STATUTORY),
        Profile("BE", caps={Kind.QUALITY: _MONTH}, term_spoken=frozenset({Kind.QUALITY})),
        Profile("DE", opt_in=_ALL_BUT_STATUTORY),
        Profile("DK", opt_in=frozenset({Kind.TRAINING})),
        Profile("FR", caps={Kind.TRAINING: _SIX_MONTHS}, manual=frozenset({Kind.AGREEMENTS})),
        Profile("NL"),
    )
}


def together(profiles: Iterable[Profile], name: str = "") -> Profile:
    """All of them at once: whatever one of them wants.

    Args:
        profiles: At least one.
        name: Of the whole; empty for theirs, joined.
    """
    found = {profile.name: profile for profile in profiles}
    caps: dict[Kind, timedelta] = {}
    for profile in found.values():
        for kind, cap in profile.caps.items():
            caps[kind] = min(cap, caps.get(kind, cap))
    every = found.values()
    return Profile(
        name or "+".join(sorted(found)),
        opt_in=frozenset[Kind]().union(*(profile.opt_in for profile in every)),
        caps=caps,
        term_spoken=frozenset[Kind]().union(*(profile.term_spoken for profile in every)),
        manual=frozenset[Kind]().union(*(profile.manual for profile in every)),
    )


STRICTEST: Final = together(_PROFILES.values(), "strictest")


def profile_of(country: Country) -> Profile:
    """The rules of a country; the strictest of all if its own are not known."""
    return _PROFILES.get(country.value, STRICTEST)


def effective(purpose: Purpose, profile: Profile) -> Profile:
    """The profile without the countries that a lawyer's opinion takes out for this purpose."""
    if purpose.override is None:
        return profile
    away = {country.value for country in purpose.override.countries}
    names = profile.name.split("+")
    left = [name for name in names if name not in away]
    if left == names:
        return profile
    return together(STRICTEST if name == STRICTEST.name else _PROFILES[name] for name in left)
