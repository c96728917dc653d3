"""The composition root of ``recproxy run``: builds everything, owns time and signals.

The main thread is the signalling thread: it polls PJSIP, the engine's playback reports and the
calls' queue. The recorder has its own thread, the engine its own, outside the interpreter; a policy
is read anew beside them. Signal handlers only set flags.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Final

from announcer import PromptSet
from recproxy import config as settings
from recproxy.allocation import return_large_blocks
from recproxy.call import Driver, Limits, Ports
from recproxy.cdr import CallDetails
from recproxy.certificates import ExpiryWatch, KeyPair, expiries
from recproxy.clock import ClockWatch, SystemClock, is_synchronised
from recproxy.config import Config
from recproxy.epochkeys import EpochKeys
from recproxy.errors import ConfigError, RecproxyError, StartError
from recproxy.eventlog import EventLog
from recproxy.forwarding import forwarded
from recproxy.media import Media, MediaPlace
from recproxy.observers import Observers, call_details, onward
from recproxy.opening import (
    CurrentPolicy,
    heard,
    load_prompts,
    open_api,
    open_index,
    open_relay,
    open_store,
    read_key,
    surroundings,
)
from recproxy.policy import Policy, load_policy
from recproxy.recorder import Recorder, RecorderConfig
from recproxy.sdnotify import ServiceManager
from recproxy.sip.endpoint import SipEndpoint, SipSettings
from recproxy.wiring import emergency_callbacks, media_places, media_trunks, sip_settings
from rtp import Fork, RtpError
from storage import load_recipients

if TYPE_CHECKING:  # at run time it is loaded if it is configured
    from recproxy.api.service import ApiService

_POLL_MS: Final = 10  # while an announcement plays: its end opens the gate
_IDLE_POLL_MS: Final = 50  # SIP wakes the loop at once; what other threads tell may wait
_FLUSH_S: Final = 0.01  # the longest that a loop without rest keeps lines of the event log
_WATCHDOG_S: Final = 5.0
_SWITCH_S: Final = (
    0.0005  # a SIP message takes the interpreter's lock some ten times: 5 ms each, while the recorder works
)
_TIDY_S: Final = 60.0
_END_GRACE_S: Final = 45.0
_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


@dataclass(slots=True)
class _Signals:
    """Set by handlers, read by the loop."""

    stop: bool = False
    reload: bool = False

    def install(self) -> None:
        """Take SIGTERM, SIGINT and SIGHUP."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGHUP, self._reload)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stop = True

    def _reload(self, _number: int, _frame: FrameType | None) -> None:
        self.reload = True


def harden() -> None:
    """Files of ours are ours alone; memory is never dumped; as many descriptors as allowed."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # That limit does not bind a handler that core dumps are piped to (core(5)); this does.
    if ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise StartError("core dumps cannot be switched off (prctl PR_SET_DUMPABLE)")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def run(config: Config, environment: Mapping[str, str], reread: Callable[[], Config]) -> int:
    """Run the daemon until SIGTERM.

    Args:
        config: The whole configuration.
        environment: Of the process.
        reread: Reads the configuration again, for a reload.

    Returns:
        Exit code: 0 after an orderly stop.

    Raises:
        RecproxyError: It cannot start; the message says why and the hint what to do.
    """
    harden()
    return_large_blocks()
    _check_descriptors(config)
    log = EventLog.to_stdout(config.log)
    clock = SystemClock()
    with forwarded(log, config.log, config.node):
        log.emit("daemon.started", node=config.node, pid=os.getpid())
        with ExitStack() as stack:
            daemon = _build(config, log, clock, stack, reread)
            daemon.serve(ServiceManager(environment, lambda why: _failed(log, "service manager", why)))
        log.emit("daemon.stopped")
    return 0


def _failed(log: EventLog, what: str, why: str) -> None:
    log.emit("daemon.failed", what=what, why=why)


def _check_descriptors(config: Config) -> None:
    """Refuse a configuration that the process's descriptors cannot hold."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.sip.max_calls * 4 + 256
    if limit < needed:
        raise ConfigError(
            f"sip.max_calls is {config.sip.max_calls}, which needs {needed} descriptors, "
            f"but RLIMIT_NOFILE is {limit}: raise it (LimitNOFILE=) or lower max_calls"
        )


def _build(
    config: Config, log: EventLog, clock: SystemClock, stack: ExitStack, reread: Callable[[], Config]
) -> _Daemon:
    policy = load_policy(config.policy, surroundings(config, clock.utcnow()))
    log.emit("policy.loaded", version=policy.version, purposes=len(policy.purposes), lines=len(policy.lines))
    store = open_store(config, log, clock, stack)
    prompts = load_prompts(config, policy, log)
    try:
        relay = stack.enter_context(open_relay(config))
        places = media_places(config)
    except RtpError as err:
        raise StartError(f"media: {err}") from err
    log.emit("media.opened", io=relay.io, scheduling=relay.scheduling)
    sink = Observers(log)
    needed = config.storage.clock is settings.ClockNeed.SYNCHRONISED
    watch = ClockWatch(is_synchronised, partial(sink.note, ""), partial(sink.audit, ""), needed=needed)
    current = CurrentPolicy(policy)
    driver = Driver(current.get, Limits(), clock.monotonic)
    # One drain for each sync: what is drained sooner is not safer, and costs.
    interval_s = config.storage.sync_interval_ms / 1000
    epochs = EpochKeys.at(config.storage.epochs, current.get)
    recorder = Recorder(
        RecorderConfig(node=config.node, interval_s=interval_s),
        store=store,
        fork=Fork(relay),
        clock=clock,
        new_id=lambda: secrets.token_hex(16),
        post=driver.post,
        note=sink.note,
        index=open_index(config, store, current),
        epochs=epochs,
        clock_fault=watch.fault,
    )
    sink.recorder = recorder
    watch.look()
    api = open_api(config, log, store, recorder, driver, current, epochs)
    sink.api = api
    recipients = partial(read_key, "storage.recipients", config.storage.recipients, load_recipients)
    sink.details = call_details(config, sink.note, recipients, clock.utcnow, stack)
    media = Media(
        relay=relay,
        trunks=media_trunks(config, places),
        prompts=prompts,
        recorder=recorder,
        guard_ns=config.media.guard_ms * 1_000_000,
        clock=clock,
        random32=lambda: secrets.randbits(32),
        post=driver.post,
        note=sink.note,
    )
    endpoint = SipEndpoint(
        replace(sip_settings(config), short_number=max(map(len, policy.emergency), default=8)),
        post=sink.watched(driver.post),
        mint=lambda: secrets.token_hex(8),
        now=clock.utcnow,
        log=lambda level, line: log.emit("sip.logged", level=level, what=line),
        tell=lambda note: log.emit(note.event, **dict(note.fields)),
        monotonic=clock.monotonic,
        below=secrets.randbelow,
        is_emergency=lambda number: current.get().is_emergency(number),
        callbacks=emergency_callbacks(current.get),
    )
    driver.connect(Ports(endpoint, media, sink))
    recorder.start()
    stack.callback(recorder.stop)
    stack.callback(endpoint.close)
    endpoint.exempt(policy.emergency)
    endpoint.open()
    if api is not None:
        stack.callback(api.stop)
    return _Daemon(
        config, log, clock, driver, endpoint, media, current, reread, places, api, watch, sink.details
    )


class _ConfigRejectedError(ConfigError):
    """``recproxy.yaml``, not the policy, is why a reload was refused."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What a reload has read, all of it right."""

    config: Config
    sip: SipSettings
    changed: tuple[str, ...]
    policy: Policy
    prompts: PromptSet
    api: tuple[KeyPair | None, ...]


class _Daemon:
    """The running whole."""

    def __init__(
        self,
        config: Config,
        log: EventLog,
        clock: SystemClock,
        driver: Driver,
        endpoint: SipEndpoint,
        media: Media,
        policy: CurrentPolicy,
        reread: Callable[[], Config],
        places: Mapping[int, MediaPlace],
        api: ApiService | None,
        watch: ClockWatch,
        details: CallDetails | None = None,
    ) -> None:
        self._api = api
        self._watch = watch
        self._details = details
        self._config = config
        self._reread = reread
        self._places = places
        self._log = log
        self._clock = clock
        self._driver = driver
        self._endpoint = endpoint
        self._media = media
        self._policy = policy
        self._signals = _Signals()
        self._flushed = 0.0
        self._reader = ThreadPoolExecutor(1, "policy")
        self._reading: Future[_Read] | None = None
        self._expiry = ExpiryWatch(log.emit, clock.utcnow)

    def serve(self, manager: ServiceManager) -> None:
        """Serve until SIGTERM, then let calls end, then end them."""
        # A cyclic collection in a foreign thread could destroy a pj.Call there, which PJLIB does not
        # survive: collect on this thread only.
        gc.disable()
        gc.collect()
        gc.freeze()  # what the start has made stays: no later collection looks at it
        switching_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)
        self._signals.install()
        if self._api is not None:
            self._log.emit("api.opened", count=len(self._api.start()))
            self._api.ready()
        self._expiry.use(expiries(self._config))
        self._log.emit("daemon.ready", max_calls=self._config.sip.max_calls)
        manager.ready()
        try:
            with self._log.gathered():
                self._loop(manager)
                manager.stopping()
                self._drain()
        finally:
            gc.unfreeze()
            sys.setswitchinterval(switching_s)
            self._reader.shutdown(cancel_futures=True)

    def _loop(self, manager: ServiceManager) -> None:
        tended = tidied = self._clock.monotonic()
        while not self._signals.stop:
            self._turn()
            now = self._clock.monotonic()
            if now - tended >= _WATCHDOG_S:
                tended = now
                manager.watchdog()
                self._watch.look()
                gc.collect()
                if now - tidied >= _TIDY_S:
                    tidied = now
                    self._endpoint.tidy()
                    self._expiry.look()
            self._reload()

    def _turn(self) -> None:
        self._endpoint.poll(_POLL_MS if self._media.playing else _IDLE_POLL_MS)
        self._media.poll()
        self._driver.pump()
        now = self._clock.monotonic()
        if now - self._flushed >= _FLUSH_S:
            self._flushed = now
            self._log.flush()

    def _drain(self) -> None:
        self._endpoint.drain()
        if self._api is not None:
            self._api.draining()
        self._log.emit("daemon.draining", calls=self._driver.active)
        self._until_idle(self._config.sip.drain.total_seconds())
        if self._driver.active:
            self._driver.drain()
            self._until_idle(_END_GRACE_S)

    def _until_idle(self, seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while self._driver.active and self._clock.monotonic() < deadline:
            self._turn()

    def _reload(self) -> None:
        """Read all anew if asked; speaking the announcements takes seconds that no call waits for."""
        if self._reading is not None and self._reading.done():
            self._take(self._reading)
            self._reading = None
        if self._signals.reload and self._reading is None:
            self._signals.reload = False
            self._reading = self._reader.submit(self._read)

    def _read(self) -> _Read:
        """Read everything; only what is right as a whole is taken over."""
        try:
            config = self._reread()
            changed = settings.check_reload(self._config, config, "recproxy.yaml")
            sip = sip_settings(config)
            pairs = () if self._api is None else self._api.read_certificates()
        except ConfigError as err:
            raise _ConfigRejectedError(*err.problems) from err
        around = surroundings(config, self._clock.utcnow())
        policy = load_policy(config.policy, around)
        prompts = load_prompts(config, policy, self._log)
        # With the audio at hand once more: nothing takes over that could not be announced.
        load_policy(config.policy, heard(around, prompts))
        return _Read(config, sip, changed, policy, prompts, pairs)

    def _take(self, reading: Future[_Read]) -> None:
        err = reading.exception()
        if err is not None:  # whatever it is: no call pays for a file that cannot be read
            self._reject(err)
            return
        read = reading.result()
        policy = read.policy
        try:
            self._endpoint.apply(read.sip)
        except RecproxyError as refusal:
            self._reject(_ConfigRejectedError(str(refusal)))
            return
        self._endpoint.exempt(policy.emergency)
        self._media.use_trunks(media_trunks(read.config, self._places))
        self._media.use_prompts(read.prompts)
        if self._details is not None:
            self._details.use_trunks(onward(read.config))
        self._policy.replace(policy)
        if self._api is not None:
            for place in self._api.renew(read.api):
                self._log.emit("certificate.renewed", transport=place)
            self._api.ready()
        self._log.use_level(read.config.log.level)
        self._config = read.config
        self._expiry.use(expiries(read.config))
        self._log.emit("config.loaded", trunks=len(read.config.trunks), changed=" ".join(read.changed))
        self._log.emit(
            "policy.loaded", version=policy.version, purposes=len(policy.purposes), lines=len(policy.lines)
        )

    def _reject(self, err: BaseException) -> None:
        problems = err.problems if isinstance(err, ConfigError) else (type(err).__name__,)
        event = "config.rejected" if isinstance(err, _ConfigRejectedError) else "policy.rejected"
        self._log.emit(event, problems=len(problems), why=str(err) or problems[0])
        if self._api is not None:
            self._api.rejected(event)
