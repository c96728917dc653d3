"""``recproxy policy``: is it right, what does it do with a call, what does a change do?"""

from recproxy.cli.policy.group import policy

__all__ = ["policy"]
