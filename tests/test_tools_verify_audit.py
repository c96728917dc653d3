"""The verifier that needs no recproxy agrees with the one that is part of it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from recorded import Take, make_shelf, record

VERIFIER = Path(__file__).resolve().parents[1] / "tools" / "verify_audit.py"
if not VERIFIER.exists():
    pytest.skip("runs where the tools are", allow_module_level=True)


def verify(directory: Path, key: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run it where no package of ours can be imported."""
    return subprocess.run(
        [sys.executable, "-P", "-c", _BARRED.format(path=str(VERIFIER)), str(directory), str(key), *more],
        capture_output=True,
        text=True,
        check=False,
    )


_BARRED = """
import runpy, sys
sys.modules.update(dict.fromkeys(("recproxy", "storage", "rtp", "announcer")))
sys.argv[0] = {path!r}
runpy.run_path({path!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def shelf_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shelf = make_shelf(tmp_path_factory.mktemp("shelf"))
    record(shelf, Take(1), Take(2))
    return shelf.root


@pytest.fixture
def chain(shelf_root: Path, tmp_path: Path) -> Path:
    for name in ("chain.jsonl", "head.json"):
        (tmp_path / name).write_bytes((shelf_root / "data" / "audit" / name).read_bytes())
    return tmp_path


def test_a_sound_chain_verifies(chain: Path, shelf_root: Path) -> None:
    done = verify(chain, shelf_root / "audit.pub")
    assert (done.returncode, done.stderr) == (0, "")
    last = (chain / "chain.jsonl").read_bytes().splitlines(keepends=True)[-1]
    assert done.stdout.endswith(f"the last is {hashlib.sha256(last).hexdigest()}\n")
    middle = hashlib.sha256((chain / "chain.jsonl").read_bytes().splitlines(keepends=True)[1]).hexdigest()
    assert verify(chain, shelf_root / "audit.pub", middle).returncode == 0


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def apply(chain: Path) -> None:
        path = chain / "chain.jsonl"
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return apply


def _head(chain: Path) -> None:
    path = chain / "head.json"
    path.write_bytes(path.read_bytes().replace(b'"seq":', b'"seq":1', 1))


FAULTS: list[tuple[str, Callable[[Path], None], str]] = [
    ("edited", _lines(lambda all_: [all_[0].replace(b"opened", b"closed"), *all_[1:]]), "line 1"),
    ("edited", _lines(lambda all_: [*all_[:2], all_[2].replace(b":", b": ", 1), *all_[3:]]), "line 3"),
    ("missing in the middle", _lines(lambda all_: [*all_[:1], *all_[2:]]), "line 2: holds event 3"),
    ("reordered", _lines(lambda all_: [all_[1], all_[0], *all_[2:]]), "line 1: holds event 2"),
    ("cut", _lines(lambda all_: all_[:-1]), "the tail was cut"),
    ("torn", _lines(lambda all_: [*all_[:-1], all_[-1][:-9]]), "torn"),
    ("empty", _lines(lambda _: []), "it ends at line 0"),
    ("no JSON", _lines(lambda all_: [*all_, b"x\n"]), "no signed JSON object"),
    ("head edited", _head, "head.json"),
    ("no head", lambda chain: (chain / "head.json").unlink(), "head.json"),
]


@pytest.mark.parametrize(("spoil", "said"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_fault_is_named(chain: Path, shelf_root: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(chain)
    done = verify(chain, shelf_root / "audit.pub")
    assert done.returncode == 20
    assert said in done.stderr
    assert done.stdout == ""


def test_another_key_and_another_chain_are_named(chain: Path, shelf_root: Path, tmp_path: Path) -> None:
    other = make_shelf(tmp_path / "other")
    assert "signature does not fit" in verify(chain, other.root / "audit.pub").stderr
    assert "the chain was replaced" in verify(chain, shelf_root / "audit.pub", "ab" * 32).stderr
    assert verify(chain, shelf_root / "audit.key").returncode == 20
    assert verify(chain, tmp_path / "none").returncode == 20
