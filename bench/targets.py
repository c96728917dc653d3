"""What is compared: recproxy, its peers, and bare relays that mark the floor.

A target is data: how its programs are started for a number of calls, how its media is
reached, what it must have written afterwards. All of them run on one core, on the
loopback of a network namespace of their own, and take a call to ``1NNNNNN`` from
127.0.0.2:5060 on to 127.0.0.3:5060.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final

from launching import AnswersUdp, Program, Says, Succeeds, answers_options
from proxy import Held, Proxy

from recproxy.config.settings import MediaConfig

CALLER, CALLEE = "127.0.0.2", "127.0.0.3"
RELAY_BASE, CALLER_RTP, CALLEE_RTP = 10_000, 20_000, 26_000  # as the generator has them
_STEREO_BYTES: Final = 16_000  # a second: two channels of G.711, or one of 16-bit PCM
_PCAP_BYTES: Final = 20_000  # a second: both directions with their headers


class Route(Enum):
    """How calls reach the target; the generator's mode."""

    SIP = "sip"
    DIRECT = "direct"
    NULL = "null"


@dataclass(frozen=True, slots=True)
class Site:
    """Where a run happens.

    Attributes:
        peers: Root of the peers' own Debian.
        configurations: The peers' configuration files.
        scratch: Empty directory for this run, on the file system of the peers.
        prompts: Spoken announcements, kept.
        relay: The compiled bare relay.
        recproxy: How recproxy is run.
    """

    peers: Path
    configurations: Path
    scratch: Path
    prompts: Path
    relay: Path
    recproxy: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Installed:
    """A target made ready for one run.

    Attributes:
        programs: To start, in this order.
        recordings: Where it writes; None if nowhere.
        fault: Says what is wrong with the recordings of calls held; empty if nothing.
    """

    programs: tuple[Program, ...]
    recordings: Path | None = None
    fault: Callable[[Held], str] = lambda _held: ""


@dataclass(frozen=True, slots=True)
class Target:
    """One contestant.

    Attributes:
        name: Its name.
        what: What it does with a call, for the list of targets.
        install: Makes it ready at a site for a number of calls.
        route: How calls reach it.
    """

    name: str
    what: str
    install: Callable[[Site, int], Installed]
    route: Route = Route.SIP


# ---------------------------------------------------------------- recproxy


def _recproxy(site: Site, calls: int, *, recording: bool = True, engine: str = "epoll") -> Installed:
    # A recproxy without the key has epoll only: it need not be named, and nothing else can be.
    named = engine != "epoll" or "io" in MediaConfig.__struct_fields__
    media = {"io": engine} if named else None
    proxy = Proxy(site.recproxy, site.scratch, site.prompts, calls, recording, media)
    proxy.install()
    program = Program(
        "recproxy",
        (*site.recproxy, "run", "--config", str(proxy.config)),
        Says('"daemon.ready"'),
        not_offered=("media.io: unknown key", "io_uring cannot be had"),
    )
    if not recording:
        return Installed((program,))
    return Installed((program,), proxy.data / "recordings", proxy.fault)


# ---------------------------------------------------------------- bare relays


def _null(_site: Site, _calls: int) -> Installed:
    return Installed(())


def _relay(site: Site, calls: int, mode: str) -> Installed:
    written = site.scratch / "relay"
    written.mkdir()
    argv = (
        *(str(site.relay), str(calls), str(RELAY_BASE)),
        *(f"{CALLER}:{CALLER_RTP}", f"{CALLEE}:{CALLEE_RTP}", mode),
        *((str(written),) if mode == "enc" else ()),
    )
    installed = Installed((Program("relay", argv, Says("READY")),))
    if mode != "enc":
        return installed
    return replace(installed, recordings=written, fault=partial(_files_fault, written, _STEREO_BYTES))


# ---------------------------------------------------------------- peers


def _chroot(site: Site, *argv: str) -> tuple[str, ...]:
    return ("chroot", str(site.peers), *argv)


def _lay_out(site: Site, *configurations: str) -> Path:
    """Give the peers' root its configuration; returns the empty directory for recordings."""
    bench = site.peers / "bench"
    if bench.exists():
        shutil.rmtree(bench)
    for name in ("run", "rec"):
        (bench / name).mkdir(parents=True)
    for name in configurations:
        shutil.copytree(site.configurations / name, bench / name)
    return bench / "rec"


def _asterisk(site: Site, _calls: int, record: str) -> Installed:
    written = _lay_out(site, "asterisk")
    (site.peers / "bench" / "asterisk" / "record.conf").write_text(f"RECORD={record}\n", encoding="ascii")
    asterisk = _chroot(site, "asterisk", "-C", "/bench/asterisk/asterisk.conf")
    program = Program(
        "asterisk", (*asterisk, "-f"), Succeeds((*asterisk, "-r", "-x", "core waitfullybooted"))
    )
    if record == "none":
        return Installed((program,))
    return Installed((program,), written, partial(_files_fault, written, _STEREO_BYTES))


def _rtpengine(site: Site, _calls: int, *, record: bool = False, threads: int = 0) -> Installed:
    written = _lay_out(site, "kamailio")
    how = (
        ("--recording-method=pcap", "--recording-dir=/bench/rec", "--recording-format=raw") if record else ()
    )
    engine = _chroot(
        site,
        *("rtpengine", "--config-file=none", "--table=-1", "--interface=127.0.0.1"),
        *("--listen-ng=127.0.0.1:2223", "--foreground", "--log-stderr", "--log-level=3"),
        *("--port-min=10000", "--port-max=19999", "--timeout=120", "--pidfile=/bench/run/rtpengine.pid"),
        *((f"--num-threads={threads}",) if threads else ()),
        *how,
    )
    proxy = _chroot(
        site,
        *("kamailio", "-DD", "-E", "-f", "/bench/kamailio/kamailio.cfg", "-P", "/bench/run/kamailio.pid"),
        *("-Y", "/bench/run", "-m", "64", "-M", "8"),
        *(("-A", "RECORD") if record else ()),
    )
    programs = (
        Program("rtpengine", engine, AnswersUdp(2223, b"ready d7:command4:pinge")),
        Program("kamailio", proxy, answers_options(CALLER)),
    )
    if not record:
        return Installed(programs)
    return Installed(programs, written, partial(_files_fault, written / "pcaps", _PCAP_BYTES))


def _files_fault(directory: Path, bytes_a_second: int, held: Held) -> str:
    """Whether each call left enough bytes."""
    sizes = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
    if len(sizes) < held.calls:
        return f"{len(sizes)} files for {held.calls} calls"
    if sum(sizes) < 0.95 * bytes_a_second * held.least_s * held.calls:
        return f"{sum(sizes) / held.calls:.0f} bytes a call for {held.least_s:.0f} s"
    return ""


# ---------------------------------------------------------------- the list


TARGETS: Final = {
    target.name: target
    for target in (
        Target("null", "no target: the floor of the generator", _null, Route.NULL),
        Target("relay-c", "bare C relay, records nothing", partial(_relay, mode="plain"), Route.DIRECT),
        Target("relay-c-copy", "the same, copies each packet", partial(_relay, mode="copy"), Route.DIRECT),
        Target("relay-c-enc", "the same, AES-256-GCM to files", partial(_relay, mode="enc"), Route.DIRECT),
        Target("recproxy", "announces, forks, encrypts, logs ahead; media.io: epoll", _recproxy),
        Target("recproxy-uring", "the same, media.io: io_uring", partial(_recproxy, engine="io_uring")),
        Target("recproxy-pass", "a call that no purpose applies to", partial(_recproxy, recording=False)),
        Target("rtpengine", "rtpengine + kamailio, no recording", _rtpengine),
        Target("rtpengine-1t", "the same, one media thread", partial(_rtpengine, threads=1)),
        Target("rtpengine-pcap", "rtpengine + kamailio, pcap recording", partial(_rtpengine, record=True)),
        Target("asterisk", "Asterisk, no recording", partial(_asterisk, record="none")),
        Target("asterisk-mix", "Asterisk with MixMonitor, mono WAV", partial(_asterisk, record="mix")),
        Target("asterisk-split", "MixMonitor, one WAV a direction", partial(_asterisk, record="split")),
    )
}


class UnknownTargetError(ValueError):
    """There is no target of that name."""


def chosen(names: str) -> list[Target]:
    """Targets by their names, separated by commas.

    Raises:
        UnknownTargetError: There is none of that name.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in TARGETS]:
        raise UnknownTargetError(f"no target {unknown[0]}; there are {', '.join(TARGETS)}")
    return [TARGETS[name] for name in wanted]
