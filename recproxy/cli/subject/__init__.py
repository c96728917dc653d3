"""``recproxy subject``."""

from recproxy.cli.subject.group import subject

__all__ = ["subject"]
