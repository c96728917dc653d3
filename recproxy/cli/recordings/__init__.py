"""``recproxy recordings``: list, show, export and verify."""

from recproxy.cli.recordings.group import recordings

__all__ = ["recordings"]
