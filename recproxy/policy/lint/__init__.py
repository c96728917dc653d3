"""The linter: what the law wants of a policy, each rule with a code and a mend."""

from recproxy.policy.lint.findings import ERRORS, WARNINGS, Lint, Surroundings
from recproxy.policy.lint.further import check_further
from recproxy.policy.lint.purposes import check_purpose
from recproxy.policy.lint.text import check_tree
from recproxy.policy.lint.warnings import warn
from recproxy.policy.lint.whole import check_whole

__all__ = ["ERRORS", "WARNINGS", "Lint", "Surroundings", "check_all", "check_tree"]


def check_all(lint: Lint) -> None:
    """Apply every rule to a policy whose form is right."""
    for name in lint.file.purposes:
        check_purpose(lint, name)
    check_further(lint)
    check_whole(lint)
    warn(lint)
