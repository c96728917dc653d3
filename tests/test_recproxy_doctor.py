"""The doctor: facts are judged by pure functions, and probed without a trace."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from certificates import Authority, Issued
from command_line import recproxy
from policies import policy_text, whole
from postgres import PASSWORD, Postgres
from recorded import Shelf, Take, make_shelf, record
from s3_stage import s3_server

from recproxy.certificates import ExpiryWatch
from recproxy.config import Config, load
from recproxy.doctor import (
    DirectoryFacts,
    EpochFacts,
    Facts,
    FileFacts,
    Finding,
    Grade,
    PromptFacts,
    SipFacts,
    check,
    probe,
)
from storage import OsFiles, make_pair

DATA, KEYS = Path("/srv/data"), Path("/etc/keys")
GIB = 1 << 30
FIT = Facts(
    euid=998,
    sip=SipFacts("2.17", 8192, "OpenSSL 3.0.22"),
    engine_fault="",
    descriptors=100_000,
    local_ports=(32_768, 60_999),
    addresses={"127.0.0.1": ""},
    data=DirectoryFacts(DATA, present=True, owner=998),
    announcements=DirectoryFacts(DATA / "announcements", present=True, owner=998, mode=0o755),
    recipients=FileFacts(KEYS / "recipients.txt", 0o644, "1 recipient"),
    audit_key=FileFacts(KEYS / "audit.key", 0o600, "an Ed25519 key"),
    index_key=FileFacts(KEYS / "index.key", 0o600, "an index key"),
    identities=(),
    programs={"espeak-ng": True, "ffmpeg": True},
    policy_fault="",
    prompts=(PromptFacts("training", "nl", 3.2),),
    free_bytes=100 * GIB,
    clock_synchronised=True,
)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return make_shelf(tmp_path / "shelf")


@pytest.fixture
def config(shelf: Shelf) -> Config:
    return load(shelf.config)


def _ungood(facts: Facts, config: Config) -> Finding:
    """The one finding that is not good."""
    (found,) = [one for one in check(facts, config) if one.grade is not Grade.GOOD]
    return found


def test_a_machine_that_is_fit_has_good_findings_only(config: Config) -> None:
    found = check(FIT, config)
    assert {one.grade for one in found} == {Grade.GOOD}
    assert all(one.said and not one.mend for one in found)


DOOMED: list[tuple[str, dict[str, Any], str, str]] = [
    ("no pjsua2", {"sip": SipFacts("", fault="not installed")}, "pjsua2: not installed", "make dev"),
    (
        "a ready-made pjsua2",
        {"sip": SipFacts("2.15.1", fault="the installed pjsua2 lacks recproxy's module")},
        "pjsua2: 2.15.1: the installed pjsua2 lacks recproxy's module; a ready-made wheel holds 4 calls",
        "tools/pjsua2/build.sh",
    ),
    ("four call slots", {"sip": SipFacts("2.15.1", 4, "OpenSSL 1.0.2")}, "PJ_ETOOMANY", "make dev"),
    (
        "too few call slots",
        {"sip": SipFacts("2.17", 39, "OpenSSL 3")},
        "sip.max_calls is 20, which takes 40",
        "lower sip.max_calls to 19",
    ),
    ("no engine", {"engine_fault": "does not load: rtp._native"}, "rtp._native", "make dev"),
    ("few descriptors", {"descriptors": 335}, "335 allowed, 336 needed for 20 calls", "LimitNOFILE=336"),
    (
        "foreign address",
        {"addresses": {"192.0.2.1": "Cannot assign requested address"}},
        "192.0.2.1: Cannot assign",
        "sip.listen",
    ),
    (
        "open data directory",
        {"data": DirectoryFacts(DATA, present=True, owner=998, mode=0o750)},
        "mode 0750 lets others in",
        "chmod 0700",
    ),
    (
        "foreign data directory",
        {"data": DirectoryFacts(DATA, present=True, owner=0)},
        "belongs to uid 0, this runs as uid 998",
        "chown",
    ),
    (
        "unwritable data directory",
        {"data": DirectoryFacts(DATA, present=True, owner=998, writable=False)},
        "cannot be written",
        "chmod",
    ),
    (
        "file as data directory",
        {"data": DirectoryFacts(DATA, present=True, is_directory=False)},
        "is not a directory",
        "move it away",
    ),
    (
        "no data directory",
        {"data": DirectoryFacts(DATA, present=False, writable=False)},
        "missing, and cannot be made",
        "install -d -m 0700",
    ),
    (
        "no recipients",
        {"recipients": FileFacts(KEYS / "r", fault="r: no recipients")},
        "no recipients",
        "keys generate",
    ),
    (
        "recipients for all to write",
        {"recipients": FileFacts(KEYS / "r", 0o664, "1 recipient")},
        "others can add themselves",
        "chmod 0644",
    ),
    ("no audit key", {"audit_key": FileFacts(KEYS / "a", fault="a: missing")}, "a: missing", "keys generate"),
    (
        "audit key for all to read",
        {"audit_key": FileFacts(KEYS / "a", 0o640)},
        "lets others sign",
        "chmod 0600",
    ),
    (
        "broken index key",
        {"index_key": FileFacts(KEYS / "i", fault="i: 2 bytes, not 32")},
        "2 bytes",
        "keys index",
    ),
    ("index key for all", {"index_key": FileFacts(KEYS / "i", 0o644)}, "lets others look", "chmod 0600"),
    ("wrong policy", {"policy_fault": "policy.yaml:3: purposes: empty"}, "policy.yaml:3", "policy check"),
    (
        "broken announcement",
        {"prompts": (PromptFacts("training", "nl", fault="a.wav: is silent"),)},
        "a.wav: is silent",
        "no call of its purposes is recorded",
    ),
    ("expired certificate", {"certificate_days": {"tls:a:5061": -2}}, "expired 2 days ago", "renew it"),
    (
        "index of somebody else",
        {"inside": (DirectoryFacts(DATA / "index", present=True, owner=0),)},
        "/srv/data/index: belongs to uid 0",
        "chown",
    ),
    (
        "call detail records for others to read",
        {"cdr": DirectoryFacts(KEYS / "cdr", present=True, owner=998, mode=0o755)},
        "mode 0755 lets others in",
        "chmod 0700",
    ),
    ("full disk", {"free_bytes": GIB // 4}, "0.2 GiB left, 5 hours", "free some"),
]
WANTING: list[tuple[str, dict[str, Any], str, str]] = [
    ("ports of others", {"local_ports": (20_050, 60_999)}, "20050-60999", "ip_local_reserved_ports"),
    (
        "identity on the recorder",
        {"identities": (KEYS / "identity.txt",)},
        "a private key lies on the recorder",
        "move it",
    ),
    ("no index key", {"index_key": None}, "by date, time and line only", "keys index"),
    ("no espeak-ng", {"programs": {"espeak-ng": False}}, "not installed", "apt install espeak-ng"),
    ("scarce disk", {"free_bytes": GIB}, "1.0 GiB left", "free some"),
    ("unknown disk", {"free_bytes": None}, "not known", "data directory"),
    ("forks that nobody announces", {"unannounced": ("sbc",)}, "each is refused with 403", "announce.fork"),
    ("old certificate", {"certificate_days": {"tls:a:5061": 29}}, "tls:a:5061: expires in 29 days", "reload"),
    (
        "audit chain for others to read",
        {"inside": (DirectoryFacts(DATA / "audit", present=True, owner=998, mode=0o750),)},
        "/srv/data/audit: mode 0750 lets others in",
        "chmod 0700 /srv/data/audit",
    ),
    ("small blocks", {"block_bytes": 1024}, "blocks of 1,024 bytes", "mkfs.ext4 -b 4096"),
    ("clock adrift", {"clock_synchronised": False}, "not synchronised", "chrony"),
    ("clock unknown", {"clock_synchronised": None}, "not known", "chrony"),
]


@pytest.mark.parametrize(("changes", "said", "mend"), [row[1:] for row in DOOMED], ids=[r[0] for r in DOOMED])
def test_what_must_be_mended_is_said_with_its_mend(
    config: Config, changes: dict[str, Any], said: str, mend: str
) -> None:
    found = _ungood(replace(FIT, **changes), config)
    assert found.grade is Grade.BAD
    assert said in f"{found.check}: {found.said}"
    assert mend in found.mend


@pytest.mark.parametrize(
    ("changes", "said", "mend"), [row[1:] for row in WANTING], ids=[r[0] for r in WANTING]
)
def test_what_should_be_mended_is_a_warning(
    config: Config, changes: dict[str, Any], said: str, mend: str
) -> None:
    found = _ungood(replace(FIT, **changes), config)
    assert found.grade is Grade.WARNING
    assert said in found.said
    assert mend in found.mend


def test_a_data_directory_that_will_be_made_is_fine(config: Config) -> None:
    facts = replace(FIT, data=DirectoryFacts(DATA, present=False))
    assert {one.grade for one in check(facts, config)} == {Grade.GOOD}


# ---------------------------------------------------------------- the probes
def _import_nothing_of(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in names]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def unloaded() -> Iterator[None]:
    """What uses pjsua2 is imported by the test, and by whoever comes after it: each has its own pjsua2."""

    def ours() -> dict[str, ModuleType]:
        return {name: found for name, found in sys.modules.items() if name.startswith("recproxy.sip")}

    before = ours()
    for name in before:
        del sys.modules[name]
    yield
    for name in ours():
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.usefixtures("unloaded")
def test_the_ready_made_wheel_is_refused_with_the_mend(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a wheel has the classes of pjsua2, four call slots and no module of ours."""
    ready_made = ModuleType("pjsua2")
    for name in ("Endpoint", "Account", "Call", "LogWriter"):
        setattr(ready_made, name, type(name, (), {}))
    monkeypatch.setitem(sys.modules, "pjsua2", ready_made)
    done = recproxy("doctor", "--config", shelf.config)
    assert done.code == 1
    (line,) = [line for line in done.out.splitlines() if "✗ pjsua2" in line]
    assert "4 calls" in line
    assert 'build it: "make dev", or tools/pjsua2/build.sh' in done.out
    assert "pjsua2" in done.err


@pytest.mark.usefixtures("unloaded")
def test_a_pjsua2_that_is_missing_is_a_finding(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pjsua2", None)
    found = probe(load(shelf.config)).sip
    assert found.fault


def test_an_engine_that_is_missing_is_a_finding(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    _import_nothing_of(monkeypatch, "rtp")
    monkeypatch.setitem(sys.modules, "rtp._native", None)
    facts = probe(load(shelf.config))
    assert "rtp._native" in facts.engine_fault
    assert facts.prompts == ()


def _snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(root.rglob("*"))
    }


def test_the_doctor_changes_nothing(shelf: Shelf) -> None:
    record(shelf, Take(1))
    before = _snapshot(shelf.root)
    recproxy("doctor", "-c", shelf.config)
    assert _snapshot(shelf.root) == before


def test_the_probes_see_this_machine(shelf: Shelf) -> None:
    facts = probe(load(shelf.config))
    assert facts.identities == (shelf.identity,)
    assert facts.addresses == {"127.0.0.1": ""}
    assert facts.recipients.shown == "1 recipient"
    assert not facts.audit_key.fault
    assert facts.index_key is not None
    assert facts.index_key.shown == "an index key"
    assert not facts.data.present
    assert facts.data.writable
    assert facts.free_bytes
    assert facts.policy_fault == ""
    shelf.data.write_text("in the way")
    (shelf.root / "recipients.txt").write_text("# nobody\n")
    (shelf.root / "audit.key").unlink()
    (shelf.root / "index.key").unlink()
    (shelf.root / "policy.yaml").write_text("rules: 5\n")
    facts = probe(load(shelf.config))
    assert not facts.data.is_directory
    assert "recipients.txt" in facts.recipients.fault
    assert "audit.key" in facts.audit_key.fault
    assert facts.index_key is not None
    assert "index.key" in facts.index_key.fault
    assert "policy.yaml:1" in facts.policy_fault


def test_a_trunk_whose_forks_nobody_announces_is_seen(shelf: Shelf) -> None:
    assert probe(load(shelf.config)).unannounced == ()
    document = yaml.safe_load(shelf.config.read_text())
    document["trunks"]["sbc"] = {"peers": ["192.0.2.99"], "siprec": True, "direction": "inbound"}
    shelf.config.write_text(yaml.safe_dump(document))
    assert probe(load(shelf.config)).unannounced == ("sbc",)


def test_the_api_is_looked_at_if_there_is_one(shelf: Shelf) -> None:
    assert probe(load(shelf.config)).api_fault is None
    with shelf.config.open("a") as file:
        file.write("api: {listen: [{unix: api.sock}], tokens: tokens}\n")
    read = load(shelf.config)
    facts = replace(FIT, api_fault=probe(read).api_fault)
    found = _ungood(facts, read)
    assert (found.check, "tokens: No such file" in found.said) == ("HTTP API", True)
    assert recproxy("api", "token", "--name", "ann", "--role", "admin", "-c", shelf.config).code == 0
    assert probe(read).api_fault == ""
    assert {one.grade for one in check(replace(FIT, api_fault=""), read)} == {Grade.GOOD}


def test_what_is_in_the_data_directory_and_beside_it_is_looked_at(shelf: Shelf) -> None:
    record(shelf, Take(1))
    records = shelf.root / "cdr"
    records.mkdir(mode=0o700)
    with shelf.config.open("a") as file:
        file.write(f"cdr: {{directory: {records}}}\n")
    read = load(shelf.config)
    facts = probe(read)
    assert {one.path.name for one in facts.inside} >= {"audit", "keys", "recordings"}
    assert (facts.cdr, facts.block_bytes) == (
        DirectoryFacts(records, present=True, mode=0o700, owner=facts.euid),
        os.statvfs(shelf.data).f_frsize,
    )
    fit = replace(FIT, euid=facts.euid, data=facts.data, announcements=facts.announcements)
    fit = replace(fit, inside=facts.inside, cdr=facts.cdr, block_bytes=facts.block_bytes)
    assert {one.grade for one in check(fit, read)} == {Grade.GOOD}
    (shelf.data / "audit").chmod(0o755)
    found = _ungood(replace(fit, inside=probe(read).inside), read)
    assert "lets others in" in found.said


def test_how_long_certificates_are_good_for_is_looked_at(shelf: Shelf, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    read = _with_tls(shelf, authority.issue("127.0.0.1"), authority)
    days = probe(read).certificate_days
    assert days == {"tls:127.0.0.1:5061": 0}
    assert "expires in 0 days" in _ungood(replace(FIT, certificate_days=days), read).said


def test_certificates_that_expire_soon_are_said_once_a_day_and_at_each_reload() -> None:
    said: list[tuple[str, str, int]] = []
    now = [datetime(2026, 11, 24, tzinfo=UTC)]
    watch = ExpiryWatch(lambda event, **fields: said.append((event, *fields.values())), lambda: now[0])
    old, new = now[0] + timedelta(days=30, hours=1), now[0] + timedelta(days=90)
    watch.use({"tls:a:5061": old, "api:a:8443": new})
    assert said == []
    for hours in (1, 23, 1, 1):
        now[0] += timedelta(hours=hours)
        watch.look()
    assert said == [("certificate.expiring", "tls:a:5061", 29)]
    watch.use({"tls:a:5061": new})
    assert len(said) == 1
    now[0] = new + timedelta(hours=30)
    watch.use({"tls:a:5061": new})
    assert said[-1] == ("certificate.expiring", "tls:a:5061", -2)


def _with_tls(shelf: Shelf, issued: Issued, authority: Authority) -> Config:
    tls = f"{{certificate: {issued.certificate}, key: {issued.key}, ca: {authority.path}}}"
    socket = f"    - {{transport: tls, address: 127.0.0.1, port: 5061, tls: {tls}}}\n"
    text = shelf.config.read_text()
    assert text.count("  listen:\n") == 1
    shelf.config.write_text(text.replace("  listen:\n", f"  listen:\n{socket}"))
    return load(shelf.config)


def test_certificate_and_key_of_a_socket_for_tls_are_tried(shelf: Shelf, tmp_path: Path) -> None:
    assert probe(load(shelf.config)).tls_faults == {}
    authority = Authority(tmp_path)
    issued, other = authority.issue("127.0.0.1"), authority.issue("127.0.0.2")
    read = _with_tls(shelf, issued, authority)
    facts = replace(FIT, tls_faults=probe(read).tls_faults)
    assert facts.tls_faults == {"127.0.0.1 port 5061": ""}
    assert {one.grade for one in check(facts, read)} == {Grade.GOOD}
    key = issued.key.read_bytes()
    for mode in (0o640, 0o604, 0o644):
        issued.key.chmod(mode)
        found = _ungood(replace(FIT, tls_faults=probe(read).tls_faults), read)
        why = f"mode {mode:04o} lets others read it; chmod 600 {issued.key}"
        said = f"sip.listen[0].tls.key: {issued.key}: {why}"
        assert (found.check, found.grade, found.said) == ("certificate", Grade.BAD, said)
    issued.key.chmod(0o440)
    assert probe(read).tls_faults == {"127.0.0.1 port 5061": ""}, "as systemd hands a credential over"
    issued.key.chmod(0o600)
    for content, why in (
        (other.key.read_bytes(), "is not the key of"),
        (b"nothing", "no certificate and key in PEM form"),
        (key.replace(b"PRIVATE", b"ENCRYPTED PRIVATE"), "is encrypted"),
    ):
        issued.key.write_bytes(content)
        assert why in probe(read).tls_faults["127.0.0.1 port 5061"]
    issued.key.write_bytes(key)
    authority.path.write_bytes(b"nothing")
    assert "holds no certificate in PEM form" in probe(read).tls_faults["127.0.0.1 port 5061"]
    issued.certificate.unlink()
    assert "No such file" in probe(read).tls_faults["127.0.0.1 port 5061"]


def test_a_catalogue_on_a_server_is_asked(shelf: Shelf, postgres: Postgres) -> None:
    assert probe(load(shelf.config)).catalogue_fault is None
    password = shelf.root / "catalogue.password"
    password.touch(mode=0o600)
    server = f"storage:\n  catalogue: {postgres.database()}\n  catalogue_password_file: catalogue.password\n"
    shelf.config.write_text(shelf.config.read_text().replace("storage:\n", server))
    read = load(shelf.config)
    for text, said in (("wrong\n", "password authentication failed"), ("", "is no password")):
        password.write_text(text)
        found = _ungood(replace(FIT, catalogue_fault=probe(read).catalogue_fault), read)
        assert (found.check, said in found.said) == ("catalogue", True)
    password.write_text(f"{PASSWORD}\n")
    assert probe(read).catalogue_fault == ""
    assert {one.grade for one in check(replace(FIT, catalogue_fault=""), read)} == {Grade.GOOD}


def test_a_bucket_is_asked(shelf: Shelf) -> None:
    assert probe(load(shelf.config)).bucket_fault is None
    credentials = shelf.root / "bucket.credentials"
    credentials.touch(mode=0o600)
    credentials.write_text("AKIA\nsecret\n")
    with s3_server() as server:
        place = server.place()
        bucket = f"{{name: {place.name}, endpoint: '{place.endpoint}', credentials_file: bucket.credentials}}"
        shelf.config.write_text(
            shelf.config.read_text().replace("storage:\n", f"storage:\n  bucket: {bucket}\n")
        )
        read = load(shelf.config)
        assert probe(read).bucket_fault == ""
    found = _ungood(replace(FIT, bucket_fault=probe(read).bucket_fault), read)
    assert (found.check, place.endpoint in found.said) == ("bucket", True)


def test_an_address_of_another_machine_is_seen(shelf: Shelf) -> None:
    shelf.config.write_text(shelf.config.read_text().replace("address: 127.0.0.1", "address: 192.0.2.1"))
    assert probe(load(shelf.config)).addresses["192.0.2.1"]


@pytest.mark.interop
def test_our_build_is_accepted(shelf: Shelf) -> None:
    shelf.identity.rename(shelf.root.parent / "identity.txt")
    done = recproxy("doctor", "-c", shelf.config, "--json")
    found = {one["check"]: one for one in json.loads(done.out)["checks"]}
    assert found["pjsua2"]["grade"] == "good", found["pjsua2"]
    assert "OpenSSL 3" in found["pjsua2"]["said"]
    assert "8192 call slots" in found["pjsua2"]["said"]
    assert found["announcement training (nl)"]["grade"] == "good"
    assert found["identity"]["grade"] == "good"


def test_a_wrong_configuration_is_code_78(tmp_path: Path) -> None:
    assert recproxy("doctor", "-c", tmp_path / "none.yaml").code == 78


@pytest.mark.parametrize(
    ("facts", "grade", "said"),
    [
        (EpochFacts("service", 7, 7), Grade.GOOD, "enough for 7 days"),
        (EpochFacts("service", 6, 7), Grade.WARNING, "enough for 6 days"),
        (EpochFacts("service", -1, 7), Grade.BAD, "none for now"),
        (EpochFacts("service", 9, 7, misplaced=("2026-12",)), Grade.BAD, "private half of 2026-12"),
        (EpochFacts("service", -1, 7, fault="no directory"), Grade.BAD, "no directory"),
    ],
)
def test_keys_of_epochs_that_run_out_are_found(
    config: Config, facts: EpochFacts, grade: Grade, said: str
) -> None:
    (found,) = [one for one in check(replace(FIT, epochs=(facts,)), config) if one.check == "keys of service"]
    assert found.grade is grade
    assert said in found.said
    assert bool(found.mend) is (grade is not Grade.GOOD)


def test_keys_of_epochs_are_looked_at(shelf: Shelf) -> None:
    policy = shelf.root / "policy.yaml"
    policy.write_text(policy_text(whole(key_groups__main={"epoch": "month"})))
    assert probe(load(shelf.config)).epochs == (
        EpochFacts("main", -1, 31, fault="storage.epochs names no directory of keys"),
    )
    config = shelf.config.read_text().replace("  directory: data\n", "  directory: data\n  epochs: e\n")
    shelf.config.write_text(config)
    assert probe(load(shelf.config)).epochs == (EpochFacts("main", -1, 31),)
    (shelf.root / "e").mkdir(mode=0o700)
    month = f"{datetime.now(UTC):%Y-%m}"
    make_pair(OsFiles(shelf.root / "e"), "main", month)
    (facts,) = probe(load(shelf.config)).epochs
    assert 0 <= facts.days <= 31
    assert facts.misplaced == (month,)
