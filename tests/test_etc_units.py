"""The units: systemd reads them, and they give away little."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ETC = Path(__file__).resolve().parents[1] / "etc"
UNITS = ("recproxy.service", "recproxy-retention.service", "recproxy-upload.service")
if not ETC.exists():
    pytest.skip("runs where the units are", allow_module_level=True)
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


def _runnable(unit: str, directory: Path) -> Path:
    """The unit with programs that are here: whether recproxy is installed is not the question."""
    text = (ETC / unit).read_text()
    text = text.replace("/opt/recproxy/bin/recproxy", shutil.which("true") or "/bin/true")
    copy = directory / unit
    copy.write_text(text)
    return copy


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_every_line(tmp_path: Path, unit: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(_runnable(unit, tmp_path))],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if unit in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


@needs_systemd
def test_systemd_does_complain_of_a_wrong_line(tmp_path: Path) -> None:
    copy = _runnable(UNITS[0], tmp_path)
    copy.write_text(copy.read_text().replace("ProtectSystem=strict", "ProtectSystem=strikt"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    assert f"{UNITS[0]}:" in done.stderr


@needs_systemd
@pytest.mark.parametrize(("unit", "bound"), [(UNITS[0], 2.0), (UNITS[1], 1.0), (UNITS[2], 2.0)])
def test_the_exposure_is_bounded(tmp_path: Path, unit: str, bound: float) -> None:
    # 0 is nothing at all, 10 an ordinary service; what is left is the network and the own user's files.
    copy = _runnable(unit, tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={round(bound * 10)}", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS)
def test_every_setting_of_the_service_has_a_reason_above_it(unit: str) -> None:
    service = (ETC / unit).read_text().split("[Service]")[1].split("[Install]")[0]
    for block in re.split(r"\n(?=#)", service.strip()):
        settings = [line for line in block.splitlines() if re.match(r"[A-Z][A-Za-z]+=", line)]
        if settings:
            assert block.startswith("# "), settings
