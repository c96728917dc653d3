"""Opens what the daemon is made of, as the configuration wants it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from announcer import BUILT_IN, PromptSet, PromptSpec, encodable_codecs
from recproxy import config as settings
from recproxy.call import Driver
from recproxy.clock import SystemClock
from recproxy.config import Config
from recproxy.epochkeys import EpochKeys
from recproxy.errors import AlreadyRunning, ConfigError, StartError
from recproxy.eventlog import EventLog
from recproxy.policy import Policy, Surroundings
from recproxy.recorder import Recorder
from recproxy.stores import open_catalogue, open_objects
from recproxy.subject import NumberIndexer
from recproxy.transcribing import RecipientPlaces
from rtp import Relay, ring_bytes_for
from storage import (
    AuditLog,
    FileFault,
    Files,
    KeyFileError,
    NumberIndex,
    OsFiles,
    RecordingStore,
    StorageError,
    StoreLocked,
    load_recipients,
    load_root_key,
    load_signing_key,
    recover,
)

if TYPE_CHECKING:  # at run time it is loaded if it is configured
    from recproxy.api.service import ApiService

__all__ = [
    "CurrentPolicy",
    "heard",
    "load_prompts",
    "open_api",
    "open_index",
    "open_relay",
    "open_store",
    "read_key",
    "surroundings",
]

_LOG_SEGMENT_BYTES: Final = 64 << 20  # 20 s of 200 calls: a new segment syncs the body of each of them
_RING_S: Final = 4.0  # so long the recorder's thread may stand still
_RING_SPARE_S: Final = 2.0  # of that for the disk, where it waits for the catalogue besides
_Key = TypeVar("_Key")
_IO: Final[Mapping[settings.MediaIo, Literal["auto", "epoll", "io_uring"]]] = {
    settings.MediaIo.AUTO: "auto",
    settings.MediaIo.EPOLL: "epoll",
    settings.MediaIo.IO_URING: "io_uring",
}


class CurrentPolicy:
    """The policy in force; calls keep the one they began with."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def get(self) -> Policy:
        """For a new call."""
        return self._policy

    def replace(self, policy: Policy) -> None:
        """From now on."""
        self._policy = policy


def surroundings(config: Config, now: datetime) -> Surroundings:
    """What the rules of a policy go by besides itself."""
    return Surroundings(now.date(), trunks=tuple(config.trunks), built_in=BUILT_IN)


def heard(around: Surroundings, prompts: PromptSet) -> Surroundings:
    """The same, with how long each announcement lasts and what is wrong with it."""
    return replace(
        around,
        seconds={key: prompt.duration_s for key, prompt in prompts.prompts.items()},
        faults={(broken.name, broken.language): broken.why for broken in prompts.broken},
    )


def load_prompts(config: Config, policy: Policy, log: EventLog) -> PromptSet:
    """Make every announcement of the policy ready; one that cannot be is said and left out."""
    specs = [
        PromptSpec(
            said.name,
            said.language,
            text=said.text,
            file=config.policy.parent / said.file if said.file is not None else None,
        )
        for said in policy.prompts()
    ]
    prompts = PromptSet.load(config.announcer.directory, specs, encodable_codecs())
    for broken in prompts.broken:
        log.emit("prompt.failed", prompt=broken.name, language=broken.language, why=broken.why)
    return prompts


def open_relay(config: Config) -> Relay:
    """Open the engine, with room for what arrives while the recorder's thread stands still."""
    media, places = config.media, config.storage
    still_s = _RING_S
    if places.catalogue_file is None:
        still_s = max(still_s, places.catalogue_timeout.total_seconds() + _RING_SPARE_S)
    return Relay(
        threads=media.threads,
        ring_bytes=ring_bytes_for(config.sip.max_calls, threads=media.threads, seconds=still_s),
        dscp=media.dscp,
        io=_IO[media.io],
    )


def open_store(config: Config, log: EventLog, clock: SystemClock, stack: ExitStack) -> RecordingStore:
    """Open the store and complete what an earlier run left open."""
    places = config.storage
    recipients = read_key("storage.recipients", places.recipients, load_recipients)
    signing_key = read_key("storage.audit_key", places.audit_key, load_signing_key)
    files = OsFiles(places.directory)
    try:
        files.prepare()
    except StorageError as err:
        raise StartError(
            f"storage.directory: {err}",
            hint="make the directory, owned by the user that recproxy runs as, mode 0700",
        ) from err
    try:
        catalogue = open_catalogue(places, config.node, files, hurried=True)
        stack.callback(catalogue.close)
        audit = AuditLog(files, signing_key, config.node, clock.utcnow)
        store = RecordingStore(files, catalogue, audit, recipients, segment_bytes=_LOG_SEGMENT_BYTES)
        stack.callback(_close, store, log)
        for found in recover(store, clock.utcnow()):
            log.emit(
                "recording.recovered",
                recording=found.recording.text,
                outcome=found.outcome.value,
                frames=found.frames,
                why=found.detail,
            )
    except StoreLocked as err:
        raise AlreadyRunning(f"storage.directory: {err}") from err
    except StorageError as err:
        raise StartError(f"storage: {err}") from err
    return store


def open_index(config: Config, store: RecordingStore, policy: CurrentPolicy) -> NumberIndexer | None:
    """What makes recordings findable by number; None if no key is configured for it."""
    place = config.storage.index_key
    if place is None:
        return None
    root = read_key("storage.index_key", place, load_root_key)
    return NumberIndexer(NumberIndex(store.parts.files, root), policy.get)


def open_api(
    config: Config,
    log: EventLog,
    store: RecordingStore,
    recorder: Recorder,
    driver: Driver,
    policy: CurrentPolicy,
    epochs: EpochKeys,
) -> ApiService | None:
    """The HTTP API, not started yet; None if none is configured."""
    if not config.api.listen:
        return None
    from recproxy.api.service import ApiService, Outside  # noqa: PLC0415 - who has no API pays nothing for it

    places = config.storage
    index = None
    if places.index_key is not None:
        index = NumberIndex(store.parts.files, read_key("storage.index_key", places.index_key, load_root_key))
    outside = Outside(
        node=config.node,
        files=store.parts.files,
        catalogue=store.parts.catalogue,
        audit_key=read_key("storage.audit_key", places.audit_key, load_signing_key),
        index=index,
        policy=policy.get,
        post=driver.post,
        recorder_fault=recorder.fault,
        keys_until=epochs.covered_until,
        sync_age_s=recorder.sync_age_s,
        failed=lambda why: log.emit("api.failed", why=why),
        recipients=RecipientPlaces(places.recipients, places.epochs),
        objects=open_objects(places),
    )
    return ApiService(config.api, outside)


def read_key(name: str, path: Path, read: Callable[[Files, str], _Key]) -> _Key:
    """Read a key file that the configuration names."""
    try:
        return read(OsFiles(path.parent), path.name)
    except FileFault as err:
        why = os.strerror(err.code)
        raise ConfigError(f'{name}: {path}: {why}; make the keys with "recproxy keys generate"') from err
    except KeyFileError as err:
        raise ConfigError(f"{name}: {path.parent}/{err}") from err


def _close(store: RecordingStore, log: EventLog) -> None:
    try:
        store.close()
    except StorageError as err:  # nothing is lost: the next start completes what is open
        log.emit("daemon.failed", what="closing the store", why=str(err))
