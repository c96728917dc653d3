"""How fast the command line turns a long recording into an audio file.

The recording is made by the storage package itself, of noise: an hour of a real call
would take an hour. The export is what an operator types, so the start of the interpreter
and the line in the audit chain are in its time.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from accounting import between, snapshot
from measuring import Rig
from proxy import PURPOSE, Proxy
from results import Conditions, Disturbance, ExportRow

from storage import (
    AudioFormat,
    AuditLog,
    Catalogue,
    ChannelFacts,
    Direction,
    Encoding,
    LegalBasis,
    NoticeProof,
    OsFiles,
    Parties,
    RecordingId,
    RecordingStore,
    RecordingTags,
    SealFacts,
    load_recipients,
    load_signing_key,
    sqlite_url,
)

_RATE_HZ: Final = 8000
_RECORDING: Final = "be" * 16


@contextmanager
def archive(rig: Rig, audio_s: int) -> Iterator[Proxy]:
    """An archive that holds one recording; gone afterwards.

    Raises:
        ProxyError: A command of recproxy failed.
    """
    directory = Path(tempfile.mkdtemp(prefix="scratch-", dir=rig.cache))
    try:
        proxy = Proxy(rig.recproxy, directory, rig.cache / "prompts", calls=10)
        proxy.install()
        _record(proxy, audio_s)
        yield proxy
    finally:
        shutil.rmtree(directory)


def measure_export(rig: Rig, proxy: Proxy, audio_s: int, kind: str, number: int) -> ExportRow:
    """Time the export of the recording to a format.

    Raises:
        ProxyError: A command of recproxy failed.
    """
    output = proxy.directory / f"export.{kind}"
    date, own = datetime.now(UTC).isoformat(timespec="seconds"), _children_s()
    before = snapshot([], [os.getpid()])
    proxy.run(
        *("recordings", "export", _RECORDING, "--config", str(proxy.config), "--use", PURPOSE),
        *("--identity", str(proxy.identity), "--output", str(output), "--why", "bench"),
    )
    used = between(before, snapshot([], [os.getpid()]), rig.target_core)
    own = _children_s() - own
    whole = output.stat().st_size > 0
    output.unlink()
    return ExportRow(
        audio_format=kind,
        round=number,
        date=date,
        conditions=Conditions(batch=rig.batch, machine=rig.machine, window_s=0, quantum_us=0, frame_ms=0),
        disturbance=Disturbance(
            foreign_core_pct=0,
            foreign_machine_pct=round(100 * max(0.0, used.foreign_machine - own) / used.seconds, 2),
            steal_pct=round(100 * used.stolen / used.seconds, 2),
        ),
        audio_s=audio_s if whole else 0,
        wall_s=used.seconds,
        cpu_s=own,
    )


def _record(proxy: Proxy, audio_s: int) -> None:
    """Put a recording into the archive, as the daemon would."""
    started = datetime.now(UTC) - timedelta(seconds=audio_s)
    files = OsFiles(proxy.data)
    files.prepare()
    keys = OsFiles(proxy.directory / "keys")
    catalogue = Catalogue.open(files, sqlite_url(str(proxy.data / "catalogue.sqlite")))
    audit = AuditLog(files, load_signing_key(keys, "audit.key"), "bench", lambda: datetime.now(UTC))
    store = RecordingStore(files, catalogue, audit, load_recipients(keys, "recipients.txt"))
    noise = random.Random(1).randbytes(2 * _RATE_HZ)
    try:
        writer = store.open(
            _tags(started),
            Parties("+31600000001", "+31300000002", ("caller@bench", "callee@bench")),
            AudioFormat(Encoding.ULAW, _RATE_HZ),
            started,
        )
        for second in range(audio_s):
            writer.write(noise)
            if second % 60 == 0:
                store.sync()
        store.sync()
        packets = ChannelFacts(packets=50 * audio_s)
        writer.seal(
            SealFacts(
                ended=started + timedelta(seconds=audio_s),
                frames=audio_s * _RATE_HZ,
                caller=packets,
                callee=packets,
                dropped_packets=0,
                paused=timedelta(0),
                reason="hangup",
            )
        )
    finally:
        store.close()
        catalogue.close()


def _tags(started: datetime) -> RecordingTags:
    notice = NoticeProof(
        prompt=PURPOSE,
        sha256="5" * 64,
        language="nl",
        heard_by=("caller", "callee"),
        started=started - timedelta(seconds=2),
        completed=started,
    )
    return RecordingTags(
        recording=RecordingId(_RECORDING),
        call="c" * 32,
        node="bench",
        purpose=PURPOSE,
        legal_basis=LegalBasis.LEGITIMATE_INTEREST,
        policy_version="7" * 64,
        direction=Direction.INBOUND,
        trunk="carrier",
        started=started,
        expiry=started + timedelta(days=1),
        notice=notice,
    )


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
