"""Real user agents as processes: sipp with a scenario, baresip with a configuration.

sipp sends the bytes of a raw G.711 file exactly, in frames of 20 ms (the last one
filled up), in a loop: ``test_interop_peers.py`` holds it to that.
"""

from __future__ import annotations

import shutil
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from string import Template

from closing import Closing
from processes import Process, ProcessError

SCENARIOS = Path(__file__).parent / "interop"
_IDLE_PORT = 6000
_TRANSPORT = {"udp": "u1", "tcp": "t1"}


def bound(address: str, port: int, transport: str = "udp") -> bool:
    """Whether some process holds ``address:port``."""
    wanted = f"{struct.unpack('<I', socket.inet_aton(address))[0]:08X}:{port:04X}"
    table = Path("/proc/net") / transport
    return any(line.split()[1] == wanted for line in table.read_text().splitlines()[1:])


@dataclass(frozen=True, slots=True)
class Speech:
    """What a sipp peer says.

    Attributes:
        audio: Raw G.711 file, played in a loop.
        payload_type: 0 µ-law, 8 A-law.
        codec: PCMU or PCMA.
    """

    audio: Path
    payload_type: int = 0
    codec: str = "PCMU"

    @property
    def action(self) -> str:
        """The step of a scenario that starts it."""
        play = f"{self.audio},-1,{self.payload_type},{self.codec}/8000"
        return f'<nop><action><exec rtp_stream="{play}"/></action></nop>'


class Sipp(Closing):
    """One sipp process that runs one scenario once. A context manager.

    Without ``speech`` it signals only, and its SDP names ``media_port``: whoever
    holds that port speaks and hears.
    """

    def __init__(
        self,
        scenario: str,
        *,
        at: str,
        remote: tuple[str, int],
        directory: Path,
        transport: str = "udp",
        port: int = 5060,
        media_port: int = 6000,
        speech: Speech | None = None,
        number: str = "+31301234567",
        caller: str = "+31612345678",
        talk_ms: int = 3000,
        hold_ms: int = 1500,
        ring_ms: int = 20,
        code: int = 486,
        elsewhere: str = "",
    ) -> None:
        self._where = (at, port, transport)
        self._errors = directory / f"{scenario}.errors"
        written = directory / f"{scenario}.xml"
        values = {
            "number": number,
            "caller": caller,
            "talk_ms": talk_ms,
            "hold_ms": hold_ms,
            "ring_ms": ring_ms,
            "code": code,
            "payload_type": speech.payload_type if speech else 0,
            "codec": speech.codec if speech else "PCMU",
            "media": "[rtpstream_audio_port]" if speech else media_port,
            "speak": speech.action if speech else "",
        }
        text = (SCENARIOS / f"{scenario}.xml").read_text()
        written.write_text(Template(text).safe_substitute(values))
        host = f"[{remote[0]}]" if ":" in remote[0] else remote[0]
        argv = ["sipp", f"{host}:{remote[1]}", "-sf", str(written), "-m", "1", "-nostdin"]
        argv += ["-i", at, "-p", str(port), "-t", _TRANSPORT[transport], "-mi", at]
        # sipp binds its media port whether it speaks or not: not the one that somebody else holds.
        argv += ["-mp", str(media_port if speech else _IDLE_PORT)]
        # Brackets of an address would be sipp's own: it takes them from the command line alone.
        argv += ["-key", "elsewhere", elsewhere] if elsewhere else []
        argv += ["-trace_err", "-error_file", str(self._errors), "-timeout", "60s", "-timeout_error"]
        self._process = Process(argv, name=f"sipp {scenario}", directory=directory)

    def wait_bound(self, *, within_s: float = 10.0) -> None:
        """Wait until it can be called.

        Raises:
            ProcessError: It ended, or did not bind its port.
        """
        deadline = time.monotonic() + within_s
        address, port, transport = self._where
        while not bound(address, port, transport):
            if self._process.returncode is not None or time.monotonic() > deadline:
                raise ProcessError(
                    f"{self._process.name} does not listen on {address}:{port}{self._report()}"
                )
            time.sleep(0.01)

    def finish(self, *, within_s: float = 90.0) -> None:
        """Wait for the end of the scenario.

        Raises:
            ProcessError: A step failed; the message tells which and what came instead.
        """
        status = self._process.wait(within_s=within_s)
        if status != 0:
            raise ProcessError(f"{self._process.name} failed ({status}){self._report()}")

    def close(self) -> None:
        """End it if it still runs."""
        self._process.close()

    def _report(self) -> str:
        if self._errors.exists():
            return f":\n{self._errors.read_text(errors='replace')[:3000]}"
        return ":\n" + "\n".join(line for line in self._process.lines[-12:] if line.strip())


_BARESIP = """\
poll_method epoll
sip_listen $host:$port
sip_cafile
call_local_timeout 60
call_max_calls 4
audio_player aubridge,heard
audio_source aufile,$speech
audio_alert aubridge,heard
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
audio_txmode poll
rtp_ports 26000-27000
jitter_buffer_delay 1-5
net_interface $address
module_path $modules
module g711.so
module aufile.so
module sndfile.so
snd_path $directory
module uuid.so
module account.so
module menu.so
"""


class Baresip(Closing):
    """A baresip process that answers (or places) a call with a WAV as its microphone.

    It sends RTP from a wildcard socket, so on loopback its packets come from
    127.0.0.1 whatever address its SDP names. It therefore lives there (or at ::1), on a free port.

    With a ``certificate`` (and its key, in one PEM file) it listens for TLS as well, on the
    next port, and speaks SRTP only.

    Attributes:
        address: Where it listens.
        port: On which port.
        directory: Of what it reads and writes.
    """

    address: str = "127.0.0.1"

    def __init__(
        self,
        *,
        directory: Path,
        speech: Path,
        dial: str = "",
        certificate: Path | None = None,
        address: str = address,
    ) -> None:
        modules = _baresip_modules()
        directory.mkdir(parents=True, exist_ok=True)
        self.address = address
        self.directory: Path = directory
        family, host = (socket.AF_INET6, f"[{address}]") if ":" in address else (socket.AF_INET, address)
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((self.address, 0))
            self.port: int = probe.getsockname()[1]
        values = {
            "address": self.address,
            "host": host,
            "port": self.port,
            "directory": directory,
            "speech": speech,
            "modules": modules,
        }
        written = Template(_BARESIP).substitute(values)
        account = f"<sip:baresip@{host}>;regint=0;answermode=auto;audio_codecs=pcmu;ptime=20"
        if certificate is not None:
            # An account names its media encryption, which must be known by then.
            written = written.replace("module account.so", "module srtp.so\nmodule account.so")
            written += f"sip_certificate {certificate}\n"
            account += ";mediaenc=srtp-mand"
        (directory / "config").write_text(written)
        (directory / "accounts").write_text(f"{account}\n")
        argv = ["baresip", "-f", str(directory), "-v", *(["-6"] if ":" in address else [])]
        if dial:
            argv += ["-e", f"/dial {dial}"]
        self._process = Process(argv, name="baresip", directory=directory)

    def wait_ready(self) -> None:
        """Wait until it can be called.

        Raises:
            ProcessError: It ended or stayed deaf.
        """
        self._process.wait_line(lambda line: "baresip is ready" in line, what="that it is ready")

    def wait_said(self, words: str) -> None:
        """Wait for a line with these words.

        Raises:
            ProcessError: It did not come.
        """
        self._process.wait_line(lambda line: words in line, what=words)

    @property
    def heard(self) -> Path:
        """WAV of what it was told in its only call; whole once it is closed."""
        (written,) = self.directory.glob("dump-*-dec.wav")
        return written

    def close(self) -> None:
        """End it."""
        self._process.close()


def _baresip_modules() -> Path:
    binary = shutil.which("baresip")
    if binary is None:
        raise ProcessError("baresip is not installed; apt-get install baresip-core")
    return Path(binary).parent.parent / "lib" / "baresip" / "modules"
