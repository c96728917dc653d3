"""What a party is asked beside the announcement, and what comes of refusing what a statute orders."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import msgspec

from recproxy.policy.emergency import DialledNumber
from recproxy.policy.names import Language, PromptId

__all__ = ["ORDERS_REFUSED", "Consent", "Decline"]

ORDERS_REFUSED: Final = PromptId("orders_refused")
"""Name of the built-in text for those who refuse what a statute orders."""


class Consent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An act of consent, asked for where the law of a party's country wants one.

    Attributes:
        prompts: Name of the announcement that asks, by language.
        keys: Any of them is the consent.
        timeout: From the end of the announcement; without a key by then, it is not given.
    """

    prompts: Mapping[Language, PromptId]
    keys: tuple[str, ...]
    timeout: timedelta = timedelta(seconds=10)


class Decline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a party refuses a recording that a statute orders: the call ends, or goes elsewhere.

    Attributes:
        keys: Any of them refuses.
        prompts: What is said then, by language; none is the built-in text.
        target: Number that a call from outside goes to, as dialled on the trunk that it goes on to;
            none: it ends.
    """

    keys: tuple[str, ...]
    prompts: Mapping[Language, PromptId] = msgspec.field(default_factory=dict)
    target: DialledNumber | None = None
