"""The facts of this machine. Reads only; what is spoken for a check goes to a directory that is removed."""

from __future__ import annotations

import ctypes
import importlib
import ipaddress
import os
import resource
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from recproxy.certificates import expiries, read_tls
from recproxy.config import ApiConfig, Config
from recproxy.doctor.facts import DirectoryFacts, EpochFacts, Facts, FileFacts, PromptFacts, SipFacts
from recproxy.epochkeys import SHORT, epoch_lengths
from recproxy.errors import ConfigError, RecproxyError
from recproxy.policy import Policy, Surroundings, load_policy
from recproxy.stores import bucket_fault, catalogue_fault
from storage import EpochShelf, OsFiles, StorageError, load_recipients, load_root_key, load_signing_key

__all__ = ["probe"]

_PROGRAMS: Final = ("espeak-ng", "ffmpeg")
_LOCAL_PORTS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_KEY_FILE_BYTES: Final = 1 << 16
_SECRET: Final = b"AGE-SECRET-KEY-"
# adjtimex(2): struct timex is 208 bytes where long has 64 bits; zeros mean "change nothing".
_TIMEX_BYTES: Final = 208
_TIME_ERROR: Final = 5


def probe(config: Config) -> Facts:
    """Look at this machine.

    Args:
        config: Says where to look.

    Returns:
        What was seen.
    """
    places = config.storage
    engine_fault = _engine_fault()
    policy, policy_fault = _policy(config)
    return Facts(
        euid=os.geteuid(),
        sip=_sip(),
        engine_fault=engine_fault,
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        local_ports=_local_ports(),
        addresses={
            address: _address_fault(address)
            for address in dict.fromkeys(
                (*(place.address for place in config.sip.listen), *config.media.address)
            )
        },
        data=_directory(places.directory, with_parents=False),
        announcements=_directory(config.announcer.directory, with_parents=True),
        recipients=_recipients(places.recipients),
        audit_key=_audit_key(places.audit_key),
        index_key=None if places.index_key is None else _index_key(places.index_key),
        identities=tuple(_identities(places.recipients.parent)),
        programs={name: shutil.which(name) is not None for name in _PROGRAMS},
        policy_fault=policy_fault,
        prompts=() if policy is None or engine_fault else tuple(_prompts(config, policy)),
        free_bytes=_free_bytes(places.directory),
        clock_synchronised=_clock_synchronised(),
        api_fault=_api_fault(config.api),
        epochs=() if policy is None else tuple(_epochs(places.epochs, policy)),
        unannounced=() if policy is None else tuple(_unannounced(config, policy)),
        tls_faults=dict(_tls_faults(config)),
        certificate_days=_days_left(config),
        inside=tuple(_inside(places.directory)),
        cdr=None if config.cdr.directory is None else _directory(config.cdr.directory, with_parents=False),
        block_bytes=None if places.catalogue_file is None else _block_bytes(places.catalogue_file),
        catalogue_fault=catalogue_fault(places),
        bucket_fault=bucket_fault(places),
    )


def _sip() -> SipFacts:
    version = next((found for name in ("pjsua2", "pjsua2-python") if (found := _version(name))), "")
    try:
        from recproxy.sip.native import build_facts  # noqa: PLC0415 - it may not load, which is a fact

        facts = build_facts()
    except ImportError as err:
        return SipFacts(version, fault=f"does not load: {err}" if version else "not installed")
    except RecproxyError as err:
        return SipFacts(version or "unknown version", fault=str(err))
    return SipFacts(version or "unknown version", facts.max_calls, facts.tls_library)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _engine_fault() -> str:
    try:
        importlib.import_module("rtp")
    except ImportError as err:
        return f"does not load: {err}"
    return ""


def _tls_faults(config: Config) -> Iterator[tuple[str, str]]:
    """Try the files of each socket for TLS as the daemon does at its start."""
    for at, place in enumerate(config.sip.listen):
        if place.tls is None:
            continue
        try:
            read_tls(f"sip.listen[{at}].tls", place.tls)
        except ConfigError as err:
            yield f"{place.address} port {place.port}", str(err)
        else:
            yield f"{place.address} port {place.port}", ""


def _api_fault(api: ApiConfig) -> str | None:
    """Try what the daemon reads at its start; binds nothing."""
    if not api.listen or api.tokens is None:
        return None
    from recproxy.api.server import tls_context  # noqa: PLC0415 - who has no API pays nothing for it
    from recproxy.api.tokenfile import TokenFile  # noqa: PLC0415 - the same

    try:
        TokenFile(api.tokens, lambda _why: None).check()
        for listen in api.listen:
            tls_context(listen)
    except ConfigError as err:
        return str(err)
    return ""


def _local_ports() -> tuple[int, int]:
    try:
        first, last = (int(text) for text in _LOCAL_PORTS.read_text().split())
    except (OSError, ValueError):
        return (0, 0)
    return first, last


def _address_fault(address: str) -> str:
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET  # noqa: PLR2004
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe_socket:
            probe_socket.bind((address, 0))
    except OSError as err:
        return err.strerror or str(err)
    return ""


def _directory(path: Path, *, with_parents: bool) -> DirectoryFacts:
    """Look at a directory.

    Args:
        path: The directory.
        with_parents: Whether recproxy makes missing directories above it, too.
    """
    try:
        facts = path.stat()
    except FileNotFoundError:
        above = path.parent
        while with_parents and not above.exists():
            above = above.parent
        return DirectoryFacts(path, present=False, writable=os.access(above, os.W_OK | os.X_OK))
    except OSError:
        return DirectoryFacts(path, present=False, writable=False)
    return DirectoryFacts(
        path,
        present=True,
        is_directory=stat.S_ISDIR(facts.st_mode),
        mode=stat.S_IMODE(facts.st_mode),
        owner=facts.st_uid,
        writable=os.access(path, os.W_OK | os.X_OK),
    )


def _recipients(path: Path) -> FileFacts:
    try:
        count = len(load_recipients(OsFiles(path.parent), path.name))
        mode = stat.S_IMODE(path.stat().st_mode)
    except (StorageError, OSError) as err:
        return FileFacts(path, fault=f"{path}: {_plain(err)}")
    return FileFacts(path, mode, f"{count} recipient{'s' if count > 1 else ''}")


def _audit_key(path: Path) -> FileFacts:
    try:
        load_signing_key(OsFiles(path.parent), path.name)
        mode = stat.S_IMODE(path.stat().st_mode)
    except (StorageError, OSError) as err:
        return FileFacts(path, fault=f"{path}: {_plain(err)}")
    return FileFacts(path, mode, "an Ed25519 key")


def _index_key(path: Path) -> FileFacts:
    try:
        load_root_key(OsFiles(path.parent), path.name)
        mode = stat.S_IMODE(path.stat().st_mode)
    except (StorageError, OSError) as err:
        return FileFacts(path, fault=f"{path}: {_plain(err)}")
    return FileFacts(path, mode, "an index key")


def _plain(err: StorageError | OSError) -> str:
    return err.strerror or str(err) if isinstance(err, OSError) else str(err)


def _epochs(directory: Path | None, policy: Policy) -> Iterator[EpochFacts]:
    now = datetime.now(UTC)
    for group, length in epoch_lengths(policy).items():
        enough = SHORT[length].days
        if directory is None:
            yield EpochFacts(group, -1, enough, fault="storage.epochs names no directory of keys")
            continue
        shelf = EpochShelf(OsFiles(directory))
        try:
            until, misplaced = shelf.covered_until(group, length, now), shelf.misplaced(group)
        except (StorageError, OSError) as err:
            yield EpochFacts(group, -1, enough, fault=f"{directory}: {_plain(err)}")
        else:
            yield EpochFacts(group, (until - now).days if until > now else -1, enough, misplaced)


def _identities(directory: Path) -> Iterator[Path]:
    try:
        beside = sorted(directory.iterdir())
    except OSError:
        return
    for path in beside:
        try:
            if not path.is_file():
                continue
            with path.open("rb") as file:
                if _SECRET in file.read(_KEY_FILE_BYTES):
                    yield path
        except OSError:
            continue  # what cannot be read here cannot be used here


def _policy(config: Config) -> tuple[Policy | None, str]:
    try:
        return load_policy(
            config.policy, Surroundings(datetime.now(UTC).date(), trunks=tuple(config.trunks))
        ), ""
    except ConfigError as err:
        return None, "\n".join(err.problems)


def _unannounced(config: Config, policy: Policy) -> Iterator[str]:
    """Trunks whose forks would all be refused: nobody announces in them."""
    announces = [purpose.announce.fork for purpose in policy.purposes.values()]
    named = {trunk for fork in announces if fork is not None for trunk in fork.trunks}
    yield from (name for name, trunk in config.trunks.items() if trunk.siprec and name not in named)


def _prompts(config: Config, policy: Policy) -> Iterator[PromptFacts]:
    # Needs the engine, which may not load.
    from announcer import PromptSet, PromptSpec, encodable_codecs  # noqa: PLC0415

    specs = [
        PromptSpec(
            said.name,
            said.language,
            text=said.text,
            file=None if said.file is None else config.policy.parent / said.file,
        )
        for said in policy.prompts()
    ]
    with tempfile.TemporaryDirectory(prefix="recproxy-doctor-") as scratch:
        loaded = PromptSet.load(Path(scratch), specs, encodable_codecs())
    for prompt in loaded.prompts.values():
        yield PromptFacts(prompt.name, prompt.language, prompt.duration_s)
    for broken in loaded.broken:
        yield PromptFacts(broken.name, broken.language, fault=broken.why)


def _days_left(config: Config) -> dict[str, int]:
    now = datetime.now(UTC)
    return {place: (expiry - now).days for place, expiry in expiries(config).items()}


def _inside(directory: Path) -> Iterator[DirectoryFacts]:
    """What the daemon makes in the data directory, if we may look."""
    try:
        names = sorted(path.name for path in directory.iterdir() if path.is_dir())
    except OSError:
        return
    for name in names:
        yield _directory(directory / name, with_parents=False)


def _block_bytes(file: Path) -> int | None:
    """Of the file system that a file is on, or will be; as ``stat -f -c %S`` has it."""
    for place in file.parents:
        try:
            return os.statvfs(place).f_frsize
        except OSError:
            continue
    return None


def _free_bytes(directory: Path) -> int | None:
    for place in (directory, *directory.parents):
        try:
            facts = os.statvfs(place)
        except OSError:
            continue
        return facts.f_bavail * facts.f_frsize
    return None


def _clock_synchronised() -> bool | None:
    """Ask the kernel, which every time daemon tells."""
    if ctypes.sizeof(ctypes.c_long) != ctypes.sizeof(ctypes.c_int64):
        return None
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else bool(state != _TIME_ERROR)
