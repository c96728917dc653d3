"""What counts as a transcript, and what becomes of one: kept, read, given to the person, shredded."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import Done, recproxy
from hypothesis import given
from hypothesis import strategies as st
from policies import OPERATOR, one_purpose, policy_text, whole
from recorded import CALLER, Shelf, Take, make_shelf, record
from test_recproxy_cli_subject_answers import chain, export, opened, passphrase, subject, unpacked

from recproxy.transcripts import LONGEST_BYTES, Form, TranscriptError, read_transcript

NOW = datetime.now(UTC).replace(microsecond=0)
MINE = Take(1, NOW - timedelta(days=3), index=True)
OTHER = Take(2, NOW - timedelta(days=2), index=True)
VTT = """WEBVTT - what was said

NOTE by hand

1
00:00:00.000 --> 00:00:01.200
<v caller>Goedemorgen, met de klant

00:00:01.200 --> 00:00:02.000 line:0
<v callee>Waarmee kan ik u helpen?
- zegt u het maar
"""
ON = {"transcript": "on", "transcript_keep": "P20D", "analytics": "off"}


def test_plain_text_and_webvtt_are_told_apart() -> None:
    assert read_transcript("wie: één woord\r\n".encode()).text == "wie: één woord\n"
    assert read_transcript(b"WEBVTTX is a word").form is Form.PLAIN
    assert read_transcript(b"\xef\xbb\xbf" + VTT.encode()).form is Form.WEBVTT


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b" \n\t\n", "empty"),
        (b"abc\xe9", "not UTF-8: byte 3"),
        (b"a\nb\x00c", "line 2 .* control character"),
        (b"a\x1b[31m", "control character"),
        (b"x" * (LONGEST_BYTES + 1), "more than 1 MiB"),
        (b"WEBVTT", "without a cue"),
        (b"WEBVTT\n\nNOTE nothing\n", "without a cue"),
        (VTT.replace("<v callee>", "").encode(), "line 9 .* who speaks"),
        (VTT.replace("<v callee>", "<v >").encode(), "who speaks"),
        (VTT.replace("00:00:02.000", "00:00:01.100").encode(), "not in order"),
        (VTT.replace("00:00:01.200 --> 00:00:02", "00:00:00.x --> 00:00:02").encode(), "no time of a cue"),
        (VTT.replace("00:00:02.000", "00:61:02.000").encode(), "no time of a cue"),
    ],
)
def test_what_is_no_transcript_is_refused_without_its_words(content: bytes, why: str) -> None:
    with pytest.raises(TranscriptError, match=why) as caught:
        read_transcript(content)
    assert "helpen" not in str(caught.value)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: f"WEBVTT\n{text}".encode()))
def test_any_bytes_are_kept_or_refused(content: bytes) -> None:
    try:
        found = read_transcript(content)
    except TranscriptError:
        return
    assert found.text.strip()
    assert "\r" not in found.text
    assert read_transcript(found.text.encode()) == found


def put_policy(shelf: Shelf, **purpose: object) -> None:
    roles = {"coach": {"users": ["anna", OPERATOR]}, "other": {"users": ["carl"]}}
    document = whole({"training": one_purpose(**purpose)}, roles=roles)
    (shelf.root / "policy.yaml").write_text(policy_text(document))


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = make_shelf(tmp_path / "shelf")
    record(shelf, MINE, OTHER)
    put_policy(shelf, derived=ON)
    yield shelf
    assert recproxy("audit", "verify", "-c", shelf.config).code == 0


def transcript(shelf: Shelf, command: str, *words: object, stdin: str = "") -> Done:
    return recproxy("recordings", "transcript", command, *words, "-c", shelf.config, stdin=stdin.encode())


def add(shelf: Shelf, take: Take = MINE, text: str = VTT) -> Done:
    words = (take.id[:6], "--use", "training", "--language", "nl", "--by", "een typist")
    return transcript(shelf, "add", *words, stdin=text)


def show(shelf: Shelf) -> Done:
    return transcript(shelf, "show", MINE.id, "-i", shelf.identity, "--use", "training", "--why", "T-1")


def test_one_is_kept_encrypted_and_read_by_role_use_and_identity(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = add(shelf)
    assert done.code == 0, done.err
    (listed,) = json.loads(transcript(shelf, "list", "--json").out)["transcripts"]
    assert (listed["form"], listed["language"], listed["by"]) == ("text/vtt", "nl", "een typist")
    assert datetime.fromisoformat(listed["expiry"]) == MINE.started + timedelta(days=20)
    assert "een typist" in transcript(shelf, "list").out
    shown = recproxy("recordings", "show", MINE.id, "-c", shelf.config)
    assert "text/vtt, nl, by een typist" in shown.out
    header = shelf.data / "keys" / f"{MINE.id}.training.transcript"
    (body,) = (shelf.data / "recordings").rglob(f"{MINE.id}.transcript.age")
    assert [one.stat().st_mode & 0o777 for one in (header, body)] == [0o600, 0o600]
    assert not any(b"helpen" in one.read_bytes() for one in shelf.data.rglob("*") if one.is_file()), (
        "words in clear"
    )
    stock = subprocess.run(
        ["age", "-d", "-i", shelf.identity],
        input=header.read_bytes() + body.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert stock.stdout.decode() == VTT

    assert show(shelf).out == VTT
    target = shelf.root / "words.vtt"
    words = (MINE.id, "-i", shelf.identity, "--use", "training", "-o", target)
    assert transcript(shelf, "export", *words).code == 0
    assert target.read_text() == VTT
    assert target.stat().st_mode & 0o777 == 0o600
    assert [line["to"] for line in chain(shelf, "derived.opened")] == ["stdout", "file"]

    monkeypatch.setenv("SUDO_USER", "carl")
    for done in (show(shelf), add(shelf, OTHER), transcript(shelf, "export", *words, "--force")):
        assert done.code == 1
        assert "carl has none of the roles" in done.err
    assert "no transcript" not in show(shelf).err
    assert len(chain(shelf, "derived.opened")) == 2


def test_a_second_one_wants_the_first_removed(shelf: Shelf) -> None:
    assert add(shelf).code == 0
    done = add(shelf)
    assert done.code == 1
    assert "has a transcript already" in done.err
    assert transcript(shelf, "remove", MINE.id, "--use", "training", "--reason", "corrected").code == 0
    assert add(shelf, text="put right").code == 0
    assert show(shelf).out == "put right"
    (line,) = chain(shelf, "derived.shredded")
    assert (line["reason"], line["kind"]) == ("corrected", "transcript")


def test_a_purpose_that_told_of_none_has_none(shelf: Shelf) -> None:
    put_policy(shelf)
    done = add(shelf)
    assert done.code == 1
    assert "callers were not told of one" in done.err
    assert "has no transcript" in show(shelf).err
    assert chain(shelf, "derived.added") == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--language", "Dutch!"), 2),
        (("--language", "nl", "--by", "0612345678"), 2),
        (("--language", "nl", "--by", "a\nb"), 2),
    ],
)
def test_what_is_said_of_it_names_nobody(shelf: Shelf, words: tuple[str, ...], code: int) -> None:
    assert transcript(shelf, "add", MINE.id, "--use", "training", *words, stdin="x").code == code


def test_its_own_term_ends_it_and_a_shorter_one_does_at_once(shelf: Shelf) -> None:
    assert add(shelf).code == 0
    assert add(shelf, OTHER, "x").code == 0
    put_policy(shelf, derived={**ON, "transcript_keep": "P5D"})
    assert recproxy("retention", "--once", "-c", shelf.config).code == 0
    kept = json.loads(transcript(shelf, "list", "--json").out)["transcripts"]
    assert {one["recording"]: datetime.fromisoformat(one["expiry"]) for one in kept} == {
        take.id: take.started + timedelta(days=5) for take in (MINE, OTHER)
    }
    assert {line["purpose"] for line in chain(shelf, "rec.expiry_changed")} == {"training.transcript"}


def test_erasure_takes_it_along(shelf: Shelf) -> None:
    assert add(shelf).code == 0
    done = subject(shelf, "erase", opened(shelf, "erase"), "--yes")
    assert done.code == 0, done.err
    assert not list((shelf.data / "keys").glob("*"))
    assert not [one for one in (shelf.data / "recordings").rglob("*") if one.is_file()]
    assert json.loads(transcript(shelf, "list", "--json").out)["transcripts"] == []


def test_the_person_gets_it_with_both_voices_by_default(shelf: Shelf) -> None:
    assert add(shelf).code == 0
    target = shelf.root / "a.age"
    files = unpacked(target, passphrase(export(shelf, opened(shelf, "access"), "-o", target)))
    assert files[f"transcripts/{MINE.id}.vtt"].decode() == VTT
    assert files[f"audio/{MINE.id}.wav"].endswith(MINE.audio)
    calls = {call["recording"]: call for call in json.loads(files["calls.json"])}
    assert calls[MINE.id]["transcript"] == f"transcripts/{MINE.id}.vtt"
    assert calls[OTHER.id]["transcript"] is None
    assert "transcripts/" in files["letter.nl.md"].decode()
    (line,) = chain(shelf, "derived.opened")
    assert (line["recipient"], line["ground"]) == ("data subject", "GDPR art. 15")


def test_the_other_party_is_in_writing_only_where_the_purpose_says_so(shelf: Shelf) -> None:
    put_policy(shelf, derived=ON, access__counterparty_voice="transcript")
    assert add(shelf).code == 0
    target = shelf.root / "a.age"
    done = export(shelf, opened(shelf, "access"), "-o", target)
    assert f"recproxy recordings transcript add {OTHER.id[:12]}" in done.out
    assert MINE.id not in done.out
    files = unpacked(target, passphrase(done))
    for take in (MINE, OTHER):
        audio = files[f"audio/{take.id}.wav"][-len(take.audio) :]
        assert audio[0::2] == take.audio[0::2]
        assert set(audio[1::2]) == {0xFF}, "the other voice is heard"
    assert f"transcripts/{MINE.id}.vtt" in files
    assert f"transcripts/{OTHER.id}.txt" not in files
    calls = {call["recording"]: call for call in json.loads(files["calls.json"])}
    assert calls[OTHER.id]["muted"] == ["callee 0 s to end"]


def test_what_is_muted_by_hand_is_not_given_in_writing(shelf: Shelf) -> None:
    assert add(shelf).code == 0
    target = shelf.root / "a.age"
    done = export(shelf, opened(shelf, "access"), "-o", target, "--mute", f"{MINE.id}:callee:0.5-1")
    files = unpacked(target, passphrase(done))
    assert not [name for name in files if name.startswith("transcripts/")]


def test_portability_is_of_the_own_words_alone(shelf: Shelf) -> None:
    assert add(shelf).code == 0
    target = shelf.root / "a.age"
    files = unpacked(target, passphrase(export(shelf, opened(shelf, "portability"), "-o", target)))
    assert not [name for name in files if name.startswith("transcripts/")]


@pytest.mark.parametrize("language", ["nl", "en"])
def test_notices_and_register_tell_of_it(shelf: Shelf, language: str) -> None:
    words_nl, words_en = ("uitgeschreven", "stem is weggelaten"), ("written text", "voice is left out")
    said = {"nl": words_nl, "en": words_en}[language]
    for document in ("statement", "staff", "register"):
        words = ("notices", document, "-c", shelf.config, "--lang", language)
        put_policy(shelf)
        assert said[0] not in recproxy(*words).out
        put_policy(shelf, derived=ON, access__counterparty_voice="transcript")
        text = recproxy(*words).out
        assert said[0] in text
        assert "20 da" in text
        if document != "register":
            assert said[1] in text


def test_the_number_of_nobody_is_in_what_is_told(shelf: Shelf) -> None:
    assert add(shelf).code == 0
    show(shelf)
    assert CALLER not in (shelf.data / "audit" / "chain.jsonl").read_text()
