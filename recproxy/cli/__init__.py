"""The command line: one module for each command."""

from recproxy.cli.entry import main

__all__ = ["main"]
