"""``recproxy recordings``, on a store that the storage package made."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import recproxy
from policies import one_line, one_purpose, policy_text, whole
from recorded import CALLEE, CALLER, START, Shelf, Take, copy_of, make_shelf, record

from recproxy.cli.archive import open_archive
from recproxy.cli.recordings import outfile
from recproxy.cli.recordings.listing import parse_instant
from recproxy.errors import RecproxyError
from storage import AuditLog, Catalogue, OsFiles, Shredder, load_signing_key, read_events, sqlite_url
from storage.age import X25519Identity
from storage.tags import RecordingId

FIRST, SECOND = Take(1), Take(2, started=START + timedelta(hours=1), purpose="agreements", seconds=6)
BROKEN, NEVER = Take(3, end="abort", started=START - timedelta(days=1)), Take(4, end="discard")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    made = make_shelf(tmp_path_factory.mktemp("pristine") / "shelf")
    purposes = {"training": one_purpose(), "agreements": one_purpose(scope__lines=["sales"])}
    lines = {"all": one_line("+31*"), "sales": one_line("+32*")}
    (made.root / "policy.yaml").write_text(policy_text(whole(purposes, lines=lines)))
    record(made, FIRST, SECOND, BROKEN, NEVER)
    return made


@pytest.fixture
def shelf(pristine: Shelf, tmp_path: Path) -> Shelf:
    return copy_of(pristine, tmp_path / "shelf")


def _events(shelf: Shelf, name: str) -> list[Any]:
    return [line for line in read_events(OsFiles(shelf.data)) if line["event"] == name]


def _shred(shelf: Shelf, take: Take) -> None:
    files = OsFiles(shelf.data)
    catalogue = Catalogue.open(files, sqlite_url(str(shelf.data / "catalogue.sqlite")))
    key = load_signing_key(OsFiles(shelf.root), "audit.key")
    audit = AuditLog(files, key, "rig", lambda: START)
    Shredder(files, catalogue, audit).shred(RecordingId(take.id), "expiry", START + timedelta(days=31))
    audit.close()
    catalogue.close()


# ---------------------------------------------------------------------- list
def _listed(shelf: Shelf, *options: object) -> list[str]:
    done = recproxy("recordings", "list", "--config", shelf.config, "--json", *options)
    assert done.code == 0, done.err
    return [row["id"] for row in json.loads(done.out)["recordings"]]


def test_list_is_newest_first(shelf: Shelf) -> None:
    assert _listed(shelf) == [SECOND.id, FIRST.id, BROKEN.id]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--purpose", "agreements"), [SECOND]),
        (("--purpose", "nothing"), []),
        (("--state", "aborted"), [BROKEN]),
        (("--state", "aborted", "--state", "sealed"), [SECOND, FIRST, BROKEN]),
        (("--since", "2026-11-02"), [SECOND, FIRST]),
        (("--since", "2026-11-02T11:00+01:00"), [SECOND]),
        (("--until", "2026-11-02"), [BROKEN]),
        (("--since", "2026-11-01T09:30", "--until", "2026-11-02 09:30:01"), [FIRST, BROKEN]),
        (("--limit", "1"), [SECOND]),
    ],
)
def test_list_filters(shelf: Shelf, options: tuple[str, ...], found: list[Take]) -> None:
    assert _listed(shelf, *options) == [take.id for take in found]


def test_list_says_when_there_is_more(shelf: Shelf) -> None:
    done = recproxy("recordings", "list", "--config", shelf.config, "--limit", 2, "--json")
    assert json.loads(done.out)["more"] is True
    assert "more than 2" in recproxy("recordings", "list", "--config", shelf.config, "--limit", 2).out
    assert "more than" not in recproxy("recordings", "list", "--config", shelf.config, "--limit", 3).out


def test_list_shows_what_remains_only_if_asked(shelf: Shelf) -> None:
    assert json.loads(recproxy("recordings", "list", "-c", shelf.config, "--json").out)["gone"] == []
    done = recproxy("recordings", "list", "-c", shelf.config, "--state", "discarded", "--json")
    (gone,) = json.loads(done.out)["gone"]
    assert (gone["id"], gone["cause"]) == (NEVER.id, "announcement broken off")
    assert _listed(shelf, "--state", "discarded") == []


def test_list_of_nothing_says_so(shelf: Shelf) -> None:
    assert recproxy("recordings", "list", "-c", shelf.config, "--purpose", "nothing").out == "no recordings\n"


@pytest.mark.parametrize("when", ["yesterday", "2026-13-01", "P1M", "2026-11-02T25:00"])
def test_an_instant_that_is_none_is_refused(shelf: Shelf, when: str) -> None:
    done = recproxy("recordings", "list", "-c", shelf.config, "--since", when)
    assert done.code == 2
    assert "'--since'" in done.err


def test_an_instant_may_be_a_time_ago() -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert parse_instant("P7D", now) == datetime(2026, 11, 17, 12, tzinfo=UTC)
    assert parse_instant("2026-11-02", now) == datetime(2026, 11, 2, tzinfo=UTC)


def test_no_list_and_no_log_line_holds_a_number(shelf: Shelf) -> None:
    for words in (["list"], ["list", "--json"], ["show", "1"], ["show", "1", "--json"], ["verify", "1"]):
        done = recproxy("recordings", *words, "-c", shelf.config)
        assert CALLER[3:] not in done.out + done.err
        assert CALLEE[3:] not in done.out + done.err


# ---------------------------------------------------------------------- show
def _shown(shelf: Shelf, *words: object) -> dict[str, Any]:
    done = recproxy("recordings", "show", *words, "-c", shelf.config, "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_show_tells_tags_proof_and_quality(shelf: Shelf) -> None:
    shown = _shown(shelf, "1")
    assert shown["id"] == FIRST.id
    assert (shown["state"], shown["purpose"], shown["legal_basis"]) == (
        "sealed",
        "training",
        "legitimate_interest",
    )
    assert shown["expiry"] == "2026-12-02T09:30:00.000Z"
    assert shown["notice"]["sha256"] == "5" * 64
    assert shown["notice"]["heard_by"] == ["caller", "callee"]
    assert shown["notice"]["completed"] <= shown["started"]
    assert shown["quality"]["callee"]["lost"] == 1
    assert shown["sha256"] == hashlib.sha256(shelf.body(FIRST.id).read_bytes()).hexdigest()
    assert (shelf.data / shown["body"]).is_file()
    assert shown["parties"] is None


def test_show_for_people_names_the_same(shelf: Shelf) -> None:
    shown = recproxy("recordings", "show", "1", "-c", shelf.config).out
    for word in (FIRST.id, "training", "legitimate_interest", "hangup", "5" * 64, "encrypted; --identity"):
        assert word in shown


def test_show_with_identity_opens_the_parties_and_leaves_a_line(shelf: Shelf) -> None:
    shown = _shown(shelf, "1", "-i", shelf.identity, "--use", "training", "--why", "ticket 7")
    assert shown["parties"] == {"caller": CALLER, "callee": CALLEE, "sip_call_ids": ["a@carrier", "b@pbx"]}
    (line,) = _events(shelf, "parties.opened")
    assert (line["rec"], line["reason"], line["outcome"]) == (FIRST.id, "ticket 7", "shown")
    assert line["actor"].startswith("user:")
    assert CALLER[3:] not in (shelf.data / "audit" / "chain.jsonl").read_text()
    assert (
        CALLER
        in recproxy(
            "recordings", "show", "1", "-c", shelf.config, "-i", shelf.identity, "--use", "training"
        ).out
    )


def test_show_of_a_recording_that_is_gone(shelf: Shelf) -> None:
    _shred(shelf, FIRST)
    shown = _shown(shelf, "1")
    assert (shown["state"], shown["cause"], shown["verified"]) == ("shredded", "expiry", True)
    assert "cannot be opened any more" in recproxy("recordings", "show", "1", "-c", shelf.config).out
    gone = recproxy("recordings", "show", "1", "-c", shelf.config, "-i", shelf.identity, "--use", "training")
    assert gone.code == 2


@pytest.mark.parametrize(
    ("prefix", "said"),
    [("f", "no recording begins with f"), ("xyz", "hex digits"), ("", "hex digits")],
)
def test_an_id_that_is_none_is_refused(shelf: Shelf, prefix: str, said: str) -> None:
    done = recproxy("recordings", "show", prefix, "-c", shelf.config)
    assert done.code == 1
    assert said in done.err
    assert 'hint: see "recproxy recordings list"' in done.err


def test_an_id_that_is_ambiguous_is_refused(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    record(shelf, FIRST, Take(0x11))
    done = recproxy("recordings", "show", "1", "-c", shelf.config)
    assert done.code == 1
    assert "more than one recording begins with 1" in done.err
    assert _shown(shelf, "11")["id"] == Take(0x11).id


# -------------------------------------------------------------------- verify
def test_verify_accepts_what_is_sound(shelf: Shelf) -> None:
    done = recproxy("recordings", "verify", "1", "-c", shelf.config)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"✓ {FIRST.id}  hash matches, key present\n"
    done = recproxy("recordings", "verify", "--all", "-c", shelf.config, "-i", shelf.identity, "--json")
    verdicts = json.loads(done.out)["recordings"]
    assert [(one["id"], one["sound"], one["decrypted"]) for one in verdicts] == [
        (SECOND.id, True, True),
        (FIRST.id, True, True),
    ]


def _cut(body: bytes) -> bytes:
    return body[:-1]


def _flip(body: bytes) -> bytes:
    return body[:40] + bytes([body[40] ^ 1]) + body[41:]


def _append(body: bytes) -> bytes:
    return body + b"\0"


@pytest.mark.parametrize("with_identity", [True, False])
@pytest.mark.parametrize(
    ("tamper", "fault"), [(_cut, "truncated"), (_flip, "altered|hash differs"), (_append, "trailing|altered")]
)
def test_verify_refuses_with_the_reason(
    shelf: Shelf, tamper: Callable[[bytes], bytes], fault: str, with_identity: bool
) -> None:
    body = shelf.body(FIRST.id)
    body.write_bytes(tamper(body.read_bytes()))
    identity = ("-i", shelf.identity) if with_identity else ()
    done = recproxy("recordings", "verify", FIRST.id, "-c", shelf.config, *identity)
    assert done.code == 20
    assert f"recproxy: error: recording {FIRST.id}: " in done.err
    assert any(word in done.err for word in fault.split("|")), done.err
    done = recproxy("recordings", "verify", "--all", "-c", shelf.config, *identity)
    assert done.code == 20
    assert "1 of 2 recordings are not sound" in done.err
    assert f"✓ {SECOND.id}" in done.out
    assert f"✗ {FIRST.id}" in done.out


@pytest.mark.parametrize("take", [BROKEN, NEVER])
def test_verify_of_what_was_never_sealed_fails(shelf: Shelf, take: Take) -> None:
    assert recproxy("recordings", "verify", take.id, "-c", shelf.config).code == 20


def test_verify_without_its_key_fails(shelf: Shelf) -> None:
    shelf.key(FIRST.id).unlink()
    done = recproxy("recordings", "verify", FIRST.id, "-c", shelf.config)
    assert done.code == 20
    assert "key missing" in done.err


def _other_identity(shelf: Shelf) -> Path:
    path = shelf.root / "other.txt"
    path.write_text(X25519Identity.generate().secret_text() + "\n")
    return path


def test_verify_with_another_identity_is_code_12(shelf: Shelf) -> None:
    done = recproxy("recordings", "verify", "1", "-c", shelf.config, "-i", _other_identity(shelf))
    assert done.code == 12


@pytest.mark.parametrize("words", [[], ["1", "--all"]])
def test_verify_wants_recordings_or_all(shelf: Shelf, words: list[str]) -> None:
    assert recproxy("recordings", "verify", *words, "-c", shelf.config).code == 2


# -------------------------------------------------------------------- export
def _export(shelf: Shelf, to: Path | str, *options: object, recording: str = "1", stdin: bytes = b"") -> Any:
    identity = () if "-i" in options else ("-i", shelf.identity)
    use = "agreements" if recording == SECOND.id else "training"
    return recproxy(
        "recordings",
        "export",
        recording,
        "-c",
        shelf.config,
        *identity,
        "-o",
        to,
        "--use",
        use,
        *options,
        stdin=stdin,
    )


def _samples(wave: bytes) -> bytes:
    start = wave.index(b"data") + 8
    return wave[start:]


def test_export_keeps_every_sample(shelf: Shelf, tmp_path: Path) -> None:
    done = _export(shelf, tmp_path / "call.wav", "--why", "ticket 8")
    assert done.code == 0, done.err
    wave = (tmp_path / "call.wav").read_bytes()
    assert _samples(wave) == FIRST.audio
    assert stat.S_IMODE((tmp_path / "call.wav").stat().st_mode) == 0o600
    (line,) = _events(shelf, "export.created")
    assert (line["rec"], line["format"], line["mix"]) == (FIRST.id, "wav", "stereo")
    assert (line["reason"], line["sha256"]) == ("ticket 8", hashlib.sha256(wave).hexdigest())
    assert (line["frames"], line["bytes"]) == (16_000, len(wave))
    assert line["sha256"] in done.out


@pytest.mark.parametrize(
    ("name", "options", "magic"),
    [
        ("call.flac", (), b"fLaC"),
        ("call.mp3", (), b"ID3"),
        ("call.opus", (), b"OggS"),
        ("call.ogg", (), b"OggS"),
        ("call", (), b"RIFF"),
        ("call.bin", ("--format", "flac"), b"fLaC"),
    ],
)
def test_format_is_that_of_the_suffix_or_as_asked(
    shelf: Shelf, tmp_path: Path, name: str, options: tuple[str, ...], magic: bytes
) -> None:
    done = _export(shelf, tmp_path / name, *options)
    assert done.code == 0, done.err
    assert (tmp_path / name).read_bytes().startswith(magic)


def test_mix_has_one_channel(shelf: Shelf, tmp_path: Path) -> None:
    assert _export(shelf, tmp_path / "mono.wav", "--mix").code == 0
    wave = (tmp_path / "mono.wav").read_bytes()
    assert int.from_bytes(wave[22:24], "little") == 1
    assert _events(shelf, "export.created")[0]["mix"] == "mono"


def test_unknown_suffix_names_the_formats(shelf: Shelf, tmp_path: Path) -> None:
    done = _export(shelf, tmp_path / "call.xyz")
    assert done.code == 1
    assert "wav, flac, mp3, opus" in done.err
    assert _events(shelf, "export.created") == []


def test_export_never_overwrites_unasked(shelf: Shelf, tmp_path: Path) -> None:
    target = tmp_path / "call.wav"
    target.write_text("mine")
    done = _export(shelf, target)
    assert done.code == 1
    assert f"{target} exists" in done.err
    assert target.read_text() == "mine"
    assert _events(shelf, "export.created") == []
    assert _export(shelf, target, "--force").code == 0
    assert _samples(target.read_bytes()) == FIRST.audio
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"call.wav", "shelf"}


@pytest.mark.parametrize("force", [True, False])
def test_export_does_not_replace_a_link_or_a_device(shelf: Shelf, tmp_path: Path, force: bool) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "link.wav").symlink_to(victim)
    done = _export(shelf, tmp_path / "link.wav", *(["--force"] if force else []))
    assert done.code == 2
    assert victim.read_text() == "mine"
    assert (tmp_path / "link.wav").is_symlink()


@pytest.mark.parametrize("nameless", [True, False])
def test_an_export_that_fails_leaves_nothing(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool
) -> None:
    if not nameless:
        _without_nameless_files(monkeypatch)
    body = shelf.body(SECOND.id)
    body.write_bytes(_cut(body.read_bytes()))
    out = tmp_path / "out"
    out.mkdir()
    done = _export(shelf, out / "call.wav", recording=SECOND.id)
    assert done.code == 20
    assert list(out.iterdir()) == []
    assert _events(shelf, "export.created") == []


def test_an_export_that_cannot_be_accounted_for_is_not_made(shelf: Shelf, tmp_path: Path) -> None:
    chain = shelf.data / "audit" / "chain.jsonl"
    chain.write_bytes(chain.read_bytes()[:-300])
    done = _export(shelf, tmp_path / "call.wav")
    assert done.code == 20
    assert "cut tail" in done.err
    assert not (tmp_path / "call.wav").exists()
    done = _export(shelf, "-")
    assert (done.code, done.raw) == (20, b"")


def _without_nameless_files(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = os.open

    def refuse(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return genuine(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)


@pytest.mark.parametrize("force", [True, False])
def test_export_works_where_no_file_is_nameless(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    _without_nameless_files(monkeypatch)
    out = tmp_path / "out"
    out.mkdir()
    done = _export(shelf, out / "call.wav", *(["--force"] if force else []))
    assert done.code == 0, done.err
    assert [path.name for path in out.iterdir()] == ["call.wav"]
    assert _samples((out / "call.wav").read_bytes()) == FIRST.audio
    assert stat.S_IMODE((out / "call.wav").stat().st_mode) == 0o600


def test_a_name_taken_in_the_meantime_is_kept(tmp_path: Path) -> None:
    with outfile.PrivateFile(tmp_path / "x", overwrite=False) as target:
        target.stream.write(b"audio")
        (tmp_path / "x").write_text("mine")
        with pytest.raises(RecproxyError, match="exists"):
            target.publish()
    assert (tmp_path / "x").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_of_a_file_is_to_be_seen_before_it_is_whole(tmp_path: Path) -> None:
    with outfile.PrivateFile(tmp_path / "x", overwrite=False) as target:
        target.stream.write(b"audio")
        target.stream.flush()
        assert list(tmp_path.iterdir()) == []
        target.publish()
    assert (tmp_path / "x").read_bytes() == b"audio"


def test_a_directory_that_is_missing_is_named(shelf: Shelf, tmp_path: Path) -> None:
    done = _export(shelf, tmp_path / "no" / "call.wav")
    assert done.code == 1
    assert str(tmp_path / "no") in done.err


def test_export_to_standard_output_with_the_identity_from_standard_input(shelf: Shelf) -> None:
    done = _export(shelf, "-", "-i", "-", stdin=shelf.identity.read_bytes())
    assert done.code == 0, done.err
    assert _samples(done.raw) == FIRST.audio
    assert _events(shelf, "export.created")[0]["to"] == "stdout"


@pytest.mark.parametrize("stdin", [b"", b"nonsense", b"\xff\xfe"])
def test_standard_input_without_an_identity_is_refused(shelf: Shelf, stdin: bytes) -> None:
    done = _export(shelf, "-", "-i", "-", stdin=stdin)
    assert done.code == 2
    assert "standard input" in done.err


def test_another_identity_is_code_12(shelf: Shelf, tmp_path: Path) -> None:
    done = _export(shelf, tmp_path / "call.wav", "-i", _other_identity(shelf))
    assert done.code == 12
    assert not (tmp_path / "call.wav").exists()
    assert _events(shelf, "export.created") == []


@pytest.mark.parametrize("content", ["age1notasecret\n", "", "AGE-SECRET-KEY-1BROKEN\n"])
def test_a_file_that_holds_no_identity_is_named_and_not_shown(
    shelf: Shelf, tmp_path: Path, content: str
) -> None:
    wrong = tmp_path / "wrong.txt"
    wrong.write_text(content)
    done = _export(shelf, tmp_path / "call.wav", "-i", wrong)
    assert done.code == 78
    assert "wrong.txt" in done.err
    assert "BROKEN" not in done.err


def test_a_recording_that_is_gone_is_not_exported(shelf: Shelf, tmp_path: Path) -> None:
    _shred(shelf, FIRST)
    done = _export(shelf, tmp_path / "call.wav")
    assert done.code == 1
    assert "shredded" in done.err
    assert not (tmp_path / "call.wav").exists()


def test_salvage_exports_what_is_sound(shelf: Shelf, tmp_path: Path) -> None:
    body = shelf.body(SECOND.id)
    body.write_bytes(body.read_bytes()[: 16 + 65_552 + 100])
    assert _export(shelf, tmp_path / "whole.wav", recording=SECOND.id).code == 20
    done = _export(shelf, tmp_path / "part.wav", "--salvage", recording=SECOND.id)
    assert done.code == 0, done.err
    part = _samples((tmp_path / "part.wav").read_bytes())
    assert 60_000 < len(part) < 65_536
    assert SECOND.audio.startswith(part.rstrip(b"\0")) or SECOND.audio[: len(part)] == part
    assert f"of {len(SECOND.audio) // 2} frames" in done.err
    assert _events(shelf, "export.created")[0]["salvaged"] is True


def test_a_damaged_first_chunk_holds_nothing_to_salvage(shelf: Shelf, tmp_path: Path) -> None:
    body = shelf.body(FIRST.id)
    body.write_bytes(_flip(body.read_bytes()))
    done = _export(shelf, tmp_path / "part.wav", "--salvage")
    assert done.code == 1
    assert "no audio that is sound" in done.err


@pytest.mark.interop
def test_the_export_is_played_by_sox(shelf: Shelf, tmp_path: Path) -> None:
    _export(shelf, tmp_path / "call.flac")
    done = subprocess.run(
        ["soxi", "-D", str(tmp_path / "call.flac")], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(2.0)


# ------------------------------------------------------------------- archive
def test_no_catalogue_is_code_10_and_none_is_made(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    done = recproxy("recordings", "list", "-c", shelf.config)
    assert done.code == 10
    assert str(shelf.data) in done.err
    shelf.data.mkdir(mode=0o700)
    done = recproxy("recordings", "list", "-c", shelf.config)
    assert done.code == 10
    assert "catalogue.sqlite" in done.err
    assert list(shelf.data.iterdir()) == []


def test_a_catalogue_that_is_none_is_code_10(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path / "shelf")
    shelf.data.mkdir(mode=0o700)
    (shelf.data / "catalogue.sqlite").write_bytes(b"this is not a database at all" * 100)
    done = recproxy("recordings", "list", "-c", shelf.config)
    assert done.code == 10
    assert "Traceback" not in done.err


def test_commands_refuse_to_run_as_another_user(shelf: Shelf) -> None:
    with (
        pytest.raises(RecproxyError, match="belongs to") as caught,
        open_archive(shelf.config, euid=os.geteuid() + 1),
    ):
        pytest.fail("opened")
    assert "sudo -u" in caught.value.hint


def test_a_wrong_configuration_is_code_78(tmp_path: Path) -> None:
    assert recproxy("recordings", "list", "-c", tmp_path / "none.yaml").code == 78
