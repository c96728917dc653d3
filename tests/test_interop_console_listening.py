"""Recordings opened, heard and downloaded in the web console, by the browser alone."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from api_stage import Stage
from browser import Visit
from console_stage import (
    TAKES,
    answering,
    digest,
    picture,
    serving,
    show,
    signed_in,
)
from playwright.sync_api import Route, expect
from recorded import Shelf, make_shelf, record

from rtp.codecs.g711 import alaw_decode, mulaw_decode
from storage import AudioFormat, Encoding
from storage.age import HybridIdentity, PassphraseRecipient, X25519Identity, encrypt
from storage.container import StreamInfo, encode_header

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    shelf = make_shelf(tmp_path_factory.mktemp("console") / "rig")
    record(shelf, *TAKES)
    return shelf


@pytest.fixture
def served(made: Shelf) -> Iterator[tuple[Stage, str]]:
    with serving(made) as served:
        yield served


@pytest.fixture
def visit(served: tuple[Stage, str]) -> Iterator[Visit]:
    with signed_in(served[1]) as tab:
        yield tab


def test_each_code_of_g711_and_16_bits_are_decoded_as_by_the_engine(
    made: Shelf, visit: Visit, tmp_path: Path
) -> None:
    codes = np.arange(256, dtype=np.uint8)
    octets = np.stack([codes, codes[::-1]], axis=1)
    linear = np.random.default_rng(5).integers(-32768, 32768, (333, 2), dtype=np.int16)
    forms = {
        Encoding.ULAW: (octets.tobytes(), mulaw_decode(octets.ravel()), 8_000),
        Encoding.ALAW: (octets.tobytes(), alaw_decode(octets.ravel()), 8_000),
        Encoding.PCM16: (linear.astype("<i2").tobytes(), linear, 16_000),
    }
    identity = X25519Identity.generate()
    (tmp_path / "identity.txt").write_text(f"# created for a test\n{identity.secret_text()}\n")
    for encoding, (audio, samples, rate_hz) in forms.items():
        header = encode_header(AudioFormat(encoding, rate_hz), StreamInfo(TAKES[0].id, {"odd": "x"}))
        sealed = encrypt(header + audio, [identity.recipient])
        visit.page.route("**/file?*", answering(sealed))
        show(visit, TAKES[0].id)
        visit.page.evaluate("location.hash = '#retention'")
        show(visit, TAKES[0].id)
        if encoding is Encoding.ULAW:
            visit.open_recording(tmp_path / "identity.txt")
        else:  # the identity is still there
            visit.page.get_by_label("What do you open it for?").select_option("training")
            visit.page.get_by_role("button", name="Open", exact=True).click()
        assert visit.opened() == digest(np.asarray(samples)), encoding
        visit.page.unroute("**/file?*")


def test_a_post_quantum_identity_behind_a_passphrase_opens_too(visit: Visit, tmp_path: Path) -> None:
    identity = HybridIdentity.generate()
    header = encode_header(AudioFormat(Encoding.ULAW, 8_000), StreamInfo(TAKES[0].id, {}))
    sealed = encrypt(header + b"\x12\x34" * 100, [identity.recipient])
    visit.page.route("**/file?*", answering(sealed))
    locked = tmp_path / "identity.age"
    locked.write_bytes(encrypt(f"{identity.secret_text()}\n".encode(), [PassphraseRecipient("only here")]))
    show(visit, TAKES[0].id)
    visit.page.get_by_label("Passphrase").fill("not here")
    visit.open_recording(locked)
    assert visit.complaint() == "The passphrase does not open this file."
    visit.page.get_by_label("Passphrase").fill("only here")
    visit.open_recording(locked)
    expected = np.tile(mulaw_decode(b"\x12\x34"), 100)
    assert visit.opened() == digest(expected)
    assert "only here" not in "\n".join(visit.sent)


def test_what_cannot_be_opened_says_why(made: Shelf, visit: Visit) -> None:
    right = made.identity.read_text()
    show(visit, TAKES[0].id)
    visit.open_recording("AGE-SECRET-KEY-1NONSENSE")
    assert visit.complaint() == "This is no age identity (AGE-SECRET-KEY-…)."
    visit.open_recording("")
    assert visit.complaint() == "Give an identity file or paste it."
    assert not [line for line in visit.sent if "/file" in line.split(" ")[1]], (
        "nothing is fetched without an identity"
    )
    visit.open_recording(X25519Identity.generate().secret_text())
    assert "was made for another" in visit.complaint()

    whole = made.key(TAKES[0].id).read_bytes() + made.body(TAKES[0].id).read_bytes()
    other = made.key(TAKES[1].id).read_bytes() + made.body(TAKES[1].id).read_bytes()
    flipped = bytearray(whole)
    flipped[-40] ^= 1
    for answer, complaint in (
        (whole[:-1], "damaged"),
        (bytes(flipped), "damaged"),
        (other, "another recording"),
    ):
        visit.page.route("**/file?*", answering(answer))
        visit.page.evaluate("location.hash = '#retention'")
        show(visit, TAKES[0].id)
        if visit.page.get_by_label("or paste it").is_visible():
            visit.open_recording(right)
        else:
            visit.page.get_by_label("What do you open it for?").select_option("training")
            visit.page.get_by_role("button", name="Open", exact=True).click()
        assert complaint in visit.complaint()
        visit.page.unroute("**/file?*")


def _noise(visit: Visit, *, seconds: int) -> tuple[X25519Identity, np.ndarray]:
    """Show a recording whose file is so long, of noise; returns who opens it, and its mu-law samples."""
    identity = X25519Identity.generate()
    header = encode_header(AudioFormat(Encoding.ULAW, 8_000), StreamInfo(TAKES[0].id, {}))
    audio = np.random.default_rng(7).integers(0, 256, 2 * 8_000 * seconds, dtype=np.uint8)
    visit.page.route("**/file?*", answering(encrypt(header + audio.tobytes(), [identity.recipient])))
    show(visit, TAKES[0].id)
    return identity, audio


def _peak_from_here_kib(processes: list[Path]) -> int:
    """What processes take now; their peak is counted from here."""
    for process in processes:
        (process / "clear_refs").write_text("5")
    return _peak_kib(processes)


def test_half_an_hour_is_opened_in_little_memory_and_joins_without_a_seam(visit: Visit) -> None:
    identity, audio = _noise(visit, seconds=1_800)
    processes = visit.renderers()
    before_kib = _peak_from_here_kib(processes)
    visit.open_recording(identity.secret_text())
    assert visit.opened() == digest(mulaw_decode(audio.tobytes()).reshape(-1, 2))
    assert _peak_kib(processes) - before_kib < 200 * 1024, "28 MiB of mu-law"
    position = visit.page.get_by_label("Position")
    position.focus()
    position.press("End")
    assert float(position.input_value()) == pytest.approx(1_800, abs=0.1)
    visit.page.get_by_role("button", name="Close recording").click()


@pytest.mark.soak
def test_an_hour_is_played_and_downloaded_in_bounded_memory(visit: Visit, tmp_path: Path) -> None:
    identity, audio = _noise(visit, seconds=3_600)
    processes = visit.renderers()
    before_kib = _peak_from_here_kib(processes)
    visit.open_recording(identity.secret_text())
    expect(visit.page.get_by_role("region", name="Player")).to_be_visible(timeout=120_000)
    assert visit.opened() == digest(mulaw_decode(audio.tobytes()).reshape(-1, 2))
    opened_kib = _peak_kib(processes) - before_kib
    position = visit.page.get_by_label("Position")
    visit.page.get_by_role("button", name="Play").click()
    expect(position).not_to_have_value(re.compile(r"^0(\.[0-2].*)?$"))
    visit.page.get_by_role("button", name="Pause").click()
    with visit.page.expect_download(timeout=120_000) as download:
        visit.page.get_by_role("button", name="Download WAV").click()
    path = tmp_path / "hour.wav"
    download.value.save_as(path)
    assert path.stat().st_size == 44 + 4 * 8_000 * 3_600
    with path.open("rb") as file:
        file.seek(44)
        assert hashlib.file_digest(file, "sha256").hexdigest() == visit.opened()
    whole_kib = _peak_kib(processes) - before_kib
    print(f"an hour: {opened_kib >> 10} MiB to open, {whole_kib >> 10} MiB with the download")
    assert whole_kib < 300 * 1024, "55 MiB of mu-law; the browser has the WAV, not the page"


def _peak_kib(processes: list[Path]) -> int:
    """The most memory that they had."""
    said = [(process / "status").read_text() for process in processes]
    return sum(int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) for status in said)


def test_pauses_are_shown_where_they_were(made: Shelf, visit: Visit) -> None:
    def paused(route: Route) -> None:
        answer = route.fetch()
        told = answer.json() | {"pauses": [{"from_s": 8.0, "to_s": 9.5, "why": "keys"}]}
        told["quality"] |= {"pauses": 1, "paused_s": 1.5}
        route.fulfill(response=answer, json=told)

    visit.page.route(f"**/v1/recordings/{TAKES[0].id}", paused)
    show(visit, TAKES[0].id)
    expect(visit.page.get_by_text("Paused from 0:08 to 0:10: by a key of staff.")).to_be_visible()
    visit.open_recording(made.identity)
    visit.opened()
    assert visit.barriers() == []
    painted = visit.page.get_by_label("Waveform of the Caller").evaluate(
        """(canvas) => {
            const top = canvas.getContext('2d').getImageData(0, 0, canvas.width, 1).data;
            return [3, 9].map((second) => top[4 * second * canvas.width / 10 + 3] > 0);
        }"""
    )
    assert painted == [False, True], "above the wave, at the third second and the ninth"
    visit.page.get_by_label("Position").press("ArrowRight")
    picture(visit, "recording")


def test_it_plays_silences_a_side_and_is_downloaded_as_linear_wave(
    made: Shelf, visit: Visit, tmp_path: Path
) -> None:
    show(visit, TAKES[0].id)
    visit.open_recording(made.identity)
    decoded = visit.opened()
    position = visit.page.get_by_label("Position")
    visit.page.get_by_role("button", name="Play").click()
    expect(position).not_to_have_value(re.compile(r"^0(\.[0-2].*)?$"))
    visit.page.get_by_label("Callee: heard").uncheck()
    expect(visit.page.get_by_label("Waveform of the Callee")).to_have_class("silenced")
    visit.page.get_by_label("Callee: heard").check()
    visit.page.get_by_role("button", name="Pause").click()
    stood = float(position.input_value())
    position.press("ArrowRight")
    assert float(position.input_value()) == pytest.approx(stood + 5, abs=0.1)
    position.press(" ")
    expect(visit.page.get_by_role("button", name="Pause")).to_be_visible()
    position.press(" ")
    expect(visit.page.get_by_role("button", name="Play")).to_be_visible()
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="Download WAV").click()
    path = tmp_path / "call.wav"
    download.value.save_as(path)
    told = ["sox", str(path), "-t", "raw", "-e", "signed", "-b", "16", "-L", "-"]
    raw = subprocess.run(told, capture_output=True, check=True).stdout
    assert hashlib.sha256(raw).hexdigest() == decoded
