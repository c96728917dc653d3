"""Who may review an order of an authority: the lawyers that the policy names; pure."""

from __future__ import annotations

from recproxy.policy.file import PolicyFile
from recproxy.policy.playback import Denial, Denied, roles_of

__all__ = ["review_denied"]


def review_denied(file: PolicyFile, user: str) -> Denied | None:
    """Tell whether a user may say that an order is valid (recproxy authority review).

    Args:
        file: The policy in force.
        user: Name of the person, as in ``roles``.

    Returns:
        None if the user may. That it is another person than who took the order in is not looked at here.
    """
    role = file.authority.reviewers
    if role in roles_of(file, user):
        return None
    known = file.roles.get(role)
    if known is None or not known.users:
        return Denied(
            Denial.ROLE,
            f"nobody has the role {role}, so no order can be reviewed",
            f"name its users under roles.{role} in the policy, or another role with authority.reviewers",
        )
    return Denied(
        Denial.ROLE,
        f"{user} does not have the role {role}, which reviews orders of authorities",
        f"see roles.{role} in the policy",
    )
