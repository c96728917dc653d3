"""``recproxy upload``: the command, its configuration, and what else reads from the bucket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import recproxy
from processes import Process
from recorded import Shelf, Take, make_shelf, record
from s3_stage import S3Server, s3_server

from storage import OsFiles, read_events

NOW = datetime.now(UTC).replace(microsecond=0)
FIRST, SECOND = Take(1, started=NOW - timedelta(hours=2)), Take(2, started=NOW - timedelta(hours=1))


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def shelf(tmp_path: Path, server: S3Server) -> Iterator[Shelf]:
    made = make_shelf(tmp_path / "shelf")
    record(made, FIRST, SECOND)
    place = server.place()
    credentials = made.root / "bucket.credentials"
    credentials.touch(mode=0o600)
    credentials.write_text(f"{place.access_key}\n{place.secret_key}\n")
    bucket = (
        f"  bucket: {{name: {place.name}, region: {place.region}, endpoint: '{place.endpoint}', "
        f"prefix: {place.prefix}, credentials_file: bucket.credentials}}\n"
    )
    made.config.write_text(made.config.read_text().replace("announcer:\n", bucket + "announcer:\n"))
    yield made
    server.gate.refuse = 0


def bodies(shelf: Shelf) -> list[Path]:
    return [path for path in (shelf.data / "recordings").rglob("*") if path.is_file()]


def upload(shelf: Shelf, *options: str) -> tuple[int, list[dict[str, object]], str]:
    done = recproxy("upload", "--config", shelf.config, "--once", *options)
    return done.code, [json.loads(line) for line in done.out.splitlines()], done.err


def test_bodies_move_and_are_verified_and_exported_from_the_bucket(shelf: Shelf, tmp_path: Path) -> None:
    before = shelf.body(FIRST.id).read_bytes()
    code, said, _ = upload(shelf)
    assert code == 0
    assert [line["event"] for line in said] == ["upload.started", "upload.moved"]
    assert (said[1]["count"], said[1]["failed"]) == (2, 0)
    assert bodies(shelf) == []
    done = recproxy("recordings", "verify", "--all", "--config", shelf.config, "--identity", shelf.identity)
    assert done.code == 0, done.err
    out = tmp_path / "call.wav"
    done = recproxy(
        *("recordings", "export", FIRST.id, "--use", "training", "--config", shelf.config),
        *("--identity", shelf.identity, "--output", out),
    )
    assert done.code == 0, done.err
    assert out.read_bytes().endswith(FIRST.audio)
    moved = [line for line in read_events(OsFiles(shelf.data)) if line["event"] == "rec.body_moved"]
    assert {str(line["rec"]) for line in moved} == {FIRST.id, SECOND.id}
    assert len(before) in {line["bytes"] for line in moved}
    assert recproxy("audit", "verify", "--config", shelf.config).code == 0
    assert upload(shelf)[1][1:] == []


def test_retention_removes_the_object(shelf: Shelf, server: S3Server) -> None:
    upload(shelf)
    text = (shelf.root / "policy.yaml").read_text()
    assert "P30D" in text
    (shelf.root / "policy.yaml").write_text(text.replace("P30D", "PT90M"))
    server.gate.seen.clear()
    done = recproxy("retention", "--once", "--config", shelf.config)
    assert done.code == 0, done.out + done.err
    assert any(what.startswith("DELETE") and FIRST.id in what for what in server.gate.seen)
    assert not shelf.key(FIRST.id).exists()
    verdict = recproxy("recordings", "verify", FIRST.id, "--config", shelf.config)
    assert "was shred" in verdict.err


def test_a_store_that_refuses_moves_nothing_and_loses_nothing(shelf: Shelf, server: S3Server) -> None:
    server.gate.refuse, server.gate.refuses = 99, lambda _what: True
    code, said, err = upload(shelf)
    assert code == 1
    assert "SlowDown" in err
    assert said[1]["event"] == "upload.failed"
    assert len(bodies(shelf)) == 2


def test_without_a_bucket_there_is_nothing_to_do(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    record(shelf, FIRST)
    done = recproxy("upload", "--once", "--config", shelf.config)
    assert done.code == 78
    assert "storage.bucket: missing" in done.err


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("AKIA\n", 0o600, "its second line is no password"),
        ("AKIA\nswordfish\n", 0o644, "mode 0644 lets others at it"),
        (None, 0o600, "No such file"),
    ],
)
def test_bad_credentials_are_named_and_not_shown(shelf: Shelf, text: str | None, mode: int, why: str) -> None:
    credentials = shelf.root / "bucket.credentials"
    if text is None:
        credentials.unlink()
    else:
        credentials.write_text(text)
        credentials.chmod(mode)
    done = recproxy("upload", "--once", "--config", shelf.config)
    assert done.code == 78
    assert "storage.bucket.credentials_file" in done.err
    assert why in done.err
    assert "swordfish" not in done.err


def test_it_goes_round_until_sigterm(shelf: Shelf) -> None:
    argv = [sys.executable, "-m", "recproxy", "upload", "--config", str(shelf.config), "--interval", "PT1S"]
    with Process(argv, name="upload", environment={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        process.wait_line(lambda line: '"upload.moved"' in line, what="that bodies moved")
        assert bodies(shelf) == []
        record(shelf, Take(3, started=NOW - timedelta(minutes=30)))
        start = len(process.lines)
        process.wait_line(lambda line: '"upload.moved"' in line, what="that one more moved", start=start)
        process.signal(signal.SIGTERM)
        assert process.wait(within_s=30) == 0
        assert '"upload.stopped"' in process.lines[-1]


def test_an_interval_out_of_bounds_is_refused(shelf: Shelf) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recproxy", "upload", "--config", str(shelf.config), "--interval", "P1D"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "not from PT1S to PT1H" in done.stderr
