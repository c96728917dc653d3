"""The Debian package in a clean Debian 12: installed without a network, called through, removed."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import rig as rigs
from debian_root import TOOLS, DebianRoot, build_package, obstacle

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not TOOLS.exists(), reason="runs where the package is built"),
    pytest.mark.skipif(bool(obstacle()), reason=obstacle()),
]
DATA = ("/etc/recproxy", "/var/lib/recproxy", "/var/lib/recproxy-cases", "/var/lib/recproxy-cdr")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package; ``RECPROXY_PACKAGE`` names one that was built before."""
    built = os.environ.get("RECPROXY_PACKAGE")
    return Path(built) if built else build_package(sys.executable, tmp_path_factory.mktemp("deb"))


@contextlib.contextmanager
def _installed(at: Path, package: Path) -> Iterator[DebianRoot]:
    root = DebianRoot.make(at)
    try:
        _install(root, package)
        yield root
    finally:
        root.remove()


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[DebianRoot]:
    """A clean Debian with the package installed, by a dpkg that has no network."""
    with _installed(tmp_path_factory.mktemp("debian") / "root", package) as root:
        yield root


def _install(root: DebianRoot, package: Path) -> None:
    (root.path / "tmp" / package.name).write_bytes(package.read_bytes())
    root.run("dpkg", "--install", f"/tmp/{package.name}")


def _as_recproxy(root: DebianRoot, command: str) -> str:
    return root.run("/bin/sh", "-euc", f"cd /; umask 077; {command}", user="recproxy:recproxy").stdout


def test_it_has_all_that_it_needs_and_nothing_was_altered(debian: DebianRoot) -> None:
    assert debian.run("dpkg", "--verify", "recproxy").stdout == ""
    assert _as_recproxy(debian, "recproxy --version").startswith("recproxy ")
    # Every compiled part finds its libraries, those of rarely taken paths too.
    libraries = "find /opt/recproxy -name '*.so*' -exec ldd {} + | grep 'not found' || true"
    missing = {line.split()[0] for line in debian.run("sh", "-c", libraries).stdout.splitlines()}
    # Names with a hash are beside the module that needs them; ldd of the library alone does not know.
    assert {name for name in missing if "-" not in name} == set()
    assert debian.run("sh", "-c", "ls /opt/recproxy/bin").stdout.split() == ["python3", "recproxy"]


def test_directories_are_those_of_its_user_alone(debian: DebianRoot) -> None:
    shown = debian.run("stat", "--format=%a %U:%G", *DATA).stdout.split("\n")
    assert shown[:4] == ["700 recproxy:recproxy"] * 4
    assert debian.run("getent", "passwd", "recproxy").stdout.strip().endswith("/usr/sbin/nologin")


def test_units_of_the_package_are_taken_by_its_systemd(debian: DebianRoot) -> None:
    for unit in ("recproxy", "recproxy-retention"):
        done = debian.run("systemd-analyze", "verify", "--man=no", f"/lib/systemd/system/{unit}.service")
        assert unit not in done.stderr, done.stderr


def test_the_steps_of_the_manual_lead_to_a_configuration_that_is_right(debian: DebianRoot) -> None:
    _as_recproxy(debian, "recproxy keys generate --out /etc/recproxy")
    _as_recproxy(
        debian,
        "head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n' > /etc/recproxy/sample.key",
    )
    checked = _as_recproxy(debian, "recproxy policy check --config /etc/recproxy/recproxy.yaml")
    assert "E0" not in checked
    shipped = debian.path / "usr/share/doc/recproxy/examples"
    examples = sorted(shipped.rglob("*.yaml"))
    assert len(examples) > 2
    for example in examples:
        path = f"/{example.relative_to(debian.path)}"
        trunk = "sbc" if example.parent.name == "siprec" else "provider"  # as its head says
        _as_recproxy(
            debian,
            f"cd /etc/recproxy; sed 's/trunk: provider/trunk: {trunk}/' policy.yaml > example-policy.yaml; "
            f"sed 's/^policy: .*/policy: example-policy.yaml/' {path} > example.yaml; "
            "recproxy policy check --config example.yaml",
        )
    done = debian.run("recproxy", "doctor", user="recproxy:recproxy", check=False)
    wrong = [line for line in done.stdout.splitlines() if line.startswith("✗")]
    # 192.0.2.1 is nobody's, if the kernel minds; all else is right.
    assert {line.split(":")[0] for line in wrong} <= {"✗ address"}, done.stdout + done.stderr
    assert "✓ policy:" in done.stdout


def test_a_call_is_recorded_by_what_was_installed(
    debian: DebianRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = {tmp_path: "recproxy:recproxy"}
    monkeypatch.setenv(
        "RECPROXY_COMMAND", str(_wrapper(debian, tmp_path, shared))
    )  # the daemon and every command of the test run in there, as the user of the package
    with contextlib.ExitStack() as stack:
        rig = stack.enter_context(rigs.rig(tmp_path, tmp_path / "prompts"))
        assert rig.daemon.cli("doctor").returncode == 0
        rig.daemon.start()
        call = rig.dial(seconds=30)
        recording = rig.recorded(call)
        rig.talk_on(call, 3)
        call.hang_up()
        rig.sealed(call)
        rig.daemon.cli("recordings", "verify", "--all", "--identity", str(rig.daemon.identity))
        compared = rigs.compare(call, rig.wave(recording))
        assert len(compared.left) == len(compared.right) == 1, "both parties, unbroken, bit for bit"
        assert min(run.samples for run in (*compared.left, *compared.right)) >= 3 * 8000 * 0.95
        assert rig.daemon.stop() == 0
        rig.daemon.cli("audit", "verify")


def _wrapper(root: DebianRoot, directory: Path, shared: dict[Path, str]) -> Path:
    """A program that is the installed recproxy, seen from here."""
    wrapper = directory / "recproxy"
    argv = root.argv("/usr/bin/recproxy", user="recproxy:recproxy", shared=shared)
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def test_an_upgrade_keeps_configuration_and_a_purge_keeps_recordings(tmp_path: Path, package: Path) -> None:
    with _installed(tmp_path / "root", package) as debian:
        config = debian.path / "etc/recproxy/recproxy.yaml"
        body = debian.path / "var/lib/recproxy/recordings/2026/11/24/x.age"
        body.parent.mkdir(parents=True)
        body.write_bytes(b"somebody's words")
        _as_recproxy(debian, "recproxy keys generate --out /etc/recproxy")
        mine = config.read_text() + "# mine\n"
        config.write_text(mine)
        _install(debian, package)
        assert config.read_text() == mine

        debian.run("dpkg", "--remove", "recproxy")
        assert config.read_text() == mine
        assert not (debian.path / "opt/recproxy").exists()
        said = debian.run("dpkg", "--purge", "recproxy")
        assert body.read_bytes() == b"somebody's words"
        assert (debian.path / "etc/recproxy/audit.key").exists(), "with it the chain goes on"
        assert "/var/lib/recproxy is kept" in said.stderr

        _install(debian, package)
        debian.run("dpkg", "--purge", "recproxy", RECPROXY_PURGE_RECORDINGS="yes")
        assert [path for path in DATA if (debian.path / path[1:]).exists()] == []
