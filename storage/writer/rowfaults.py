"""Changing many rows in one transaction, and finding the one that does not let them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from storage.errors import CatalogueBusy, CatalogueError

_Row = TypeVar("_Row")


def row_faults(change: Callable[[Sequence[_Row]], None], rows: Sequence[_Row]) -> dict[int, CatalogueError]:
    """Change rows together; if the catalogue refuses, one by one.

    Args:
        change: Changes all rows it is given, or none and raises.
        rows: What to change.

    Returns:
        What went wrong, by place in ``rows``. A catalogue that cannot be used now is
        asked once only: all rows share its fault.
    """
    if not rows:
        return {}
    try:
        change(rows)
    except CatalogueBusy as err:
        return dict.fromkeys(range(len(rows)), err)
    except CatalogueError as err:
        if len(rows) == 1:
            return {0: err}
    else:
        return {}
    faults: dict[int, CatalogueError] = {}
    for place, row in enumerate(rows):
        try:
            change([row])
        except CatalogueError as err:
            faults[place] = err
    return faults
