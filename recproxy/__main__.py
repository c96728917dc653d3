"""``python -m recproxy`` and the ``recproxy`` command."""

from __future__ import annotations

from recproxy.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
