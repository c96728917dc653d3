"""Documents that repeat the policy in force: for callers, for staff, for the register."""

from recproxy.notices.documents import balance, staff_notice, statement
from recproxy.notices.register import RegisterFormat, register
from recproxy.notices.sheet import Language, PurposeSheet, Sheet

__all__ = [
    "Language",
    "PurposeSheet",
    "RegisterFormat",
    "Sheet",
    "balance",
    "register",
    "staff_notice",
    "statement",
]
