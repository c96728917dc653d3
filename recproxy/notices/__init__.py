"""Documents that repeat the policy in force: for callers, for staff, for the register."""

from recproxy.notices.sheet import Language, PurposeSheet, Sheet

__all__ = ["Language", "PurposeSheet", "Sheet"]
