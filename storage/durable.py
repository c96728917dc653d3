"""What takes several steps on a file system, so that it is whole or absent after a crash.

Many files that become durable together share the syncs of their directories; each
keeps its own fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from storage.errors import FileFault
from storage.files import Files, OpenFile

__all__ = [
    "destroy",
    "destroy_together",
    "parent",
    "replace",
    "sync_directories",
    "write_new",
    "write_together",
]


def replace(files: Files, path: str, data: bytes) -> None:
    """Put a whole new content under a name: after a crash it is the old or the new one.

    Args:
        files: Where.
        path: The name; it need not exist.
        data: The content.

    Raises:
        FileFault: The old content still stands, unless only the last sync failed.
    """
    draft = f"{path}.new"
    if files.size(draft) is not None:
        files.unlink(draft)
    handle = files.create(draft)
    try:
        handle.write(data)
        handle.sync()
    finally:
        handle.close()
    files.rename(draft, path)
    files.sync_directory(parent(path))


def write_new(files: Files, path: str, data: bytes) -> None:
    """Make a file that must not exist, durable on return.

    Args:
        files: Where.
        path: Its name.
        data: Its content.

    Raises:
        FilePresent: It exists; nothing was overwritten.
        FileFault: Part of it may be on disk.
    """
    for fault in write_together(files, {path: data}).values():
        raise fault


def write_together(files: Files, contents: Mapping[str, bytes]) -> dict[str, FileFault]:
    """Make files that must not exist; they are durable on return, but for those with a fault.

    Args:
        files: Where.
        contents: Content of each file, by its name.

    Returns:
        What went wrong, by name (``FilePresent``: it exists and was not overwritten;
        else part of it may be on disk); empty if all is well.
    """
    faults: dict[str, FileFault] = {}
    handles: dict[str, OpenFile] = {}
    try:
        for path, data in contents.items():
            try:
                handles[path] = files.create(path)
                handles[path].write(data)
            except FileFault as err:
                faults[path] = err
        for path, handle in handles.items():
            if path not in faults:
                try:
                    handle.sync()
                except FileFault as err:
                    faults[path] = err
    finally:
        for handle in handles.values():
            handle.close()
    return faults | sync_directories(files, [path for path in contents if path not in faults])


def destroy(files: Files, path: str) -> bool:
    """Overwrite, sync, unlink and sync the directory; done twice it does no harm.

    Args:
        files: Where.
        path: The file; it need not exist.

    Returns:
        False if there was nothing to destroy.

    Raises:
        FileFault: The file may still be readable; repeat.
    """
    present = files.size(path) is not None
    for fault in destroy_together(files, [path]).values():
        raise fault
    return present


def destroy_together(files: Files, paths: Iterable[str]) -> dict[str, FileFault]:
    """Overwrite, sync and unlink files, then sync their directories; done twice it does no harm.

    Args:
        files: Where.
        paths: The files; they need not exist.

    Returns:
        What went wrong, by name: that file may still be readable, repeat.
    """
    faults: dict[str, FileFault] = {}
    gone: list[str] = []
    for path in paths:
        try:
            if files.size(path) is not None:
                files.overwrite(path)
                files.unlink(path)
        except FileFault as err:
            faults[path] = err
        else:
            gone.append(path)
    return faults | sync_directories(files, gone)


def sync_directories(files: Files, paths: Iterable[str]) -> dict[str, FileFault]:
    """Make names that were created, renamed or removed durable, with one sync for each directory.

    Args:
        files: Where.
        paths: The names.

    Returns:
        What went wrong, by name: all names in a directory share its fault.
    """
    by_directory: dict[str, list[str]] = {}
    for path in paths:
        by_directory.setdefault(parent(path), []).append(path)
    faults: dict[str, FileFault] = {}
    for directory, names in by_directory.items():
        try:
            files.sync_directory(directory)
        except FileFault as err:
            faults.update(dict.fromkeys(names, err))
    return faults


def parent(path: str) -> str:
    """The directory part of a relative path; ``.`` for the data directory itself."""
    return path.rpartition("/")[0] or "."
