"""How numbers are written on a trunk: the keys ``trunks.<name>.numbers``."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["NumberParty", "NumberRule", "NumbersConfig"]


class NumberParty(Enum):
    """Whose number a rule is for."""

    CALLER = "caller"
    CALLEE = "callee"
    BOTH = "both"


class NumberRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Puts something else in the place of a number's first digits.

    Attributes:
        prefix: First digits of the numbers meant; may be empty.
        replace: What stands in their place afterwards; may be empty.
        digits: Number of digits, the prefix counted, of the numbers meant; None for any.
        party: Whose number.
    """

    prefix: Annotated[
        str, Meta(pattern=r"^\+?[0-9]{0,15}$", description="up to 15 digits, perhaps behind a plus")
    ]
    replace: Annotated[
        str, Meta(pattern=r"^\+?[0-9]{0,15}$", description="up to 15 digits, perhaps behind a plus")
    ]
    digits: Annotated[int, Meta(ge=1, le=20, description="a whole number from 1 to 20")] | None = None
    party: NumberParty = NumberParty.BOTH


class NumbersConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How numbers are written on a trunk; the first rule that fits is applied, once.

    Attributes:
        received: For calls from the trunk, before the policy looks at them.
        sent: For calls to the trunk.
    """

    received: tuple[NumberRule, ...] = ()
    sent: tuple[NumberRule, ...] = ()
