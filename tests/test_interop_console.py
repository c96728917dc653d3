"""The web console in headless Chromium: a recording is opened by the browser alone.

With RECPROXY_PICTURES=DIRECTORY, pictures of it are put there.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from api_stage import CALL, Stage, policy_of, secret_of, stage
from browser import STATIC, Visit, browsing, somebody_else
from console_stage import HOSTILE, TAKES, answering, digest, picture, poisoned, ring, show
from daemon import eventually
from playwright.sync_api import Route, expect
from policies import one_purpose
from recorded import CALLER, Shelf, make_shelf, record
from rig import CALLER_NUMBER, Rig

from recproxy.call.commands import Note
from recproxy.call.events import PauseAsked
from rtp.codecs.g711 import alaw_decode, mulaw_decode
from storage import AudioFormat, Encoding, OsFiles, read_events
from storage.age import HybridIdentity, PassphraseRecipient, X25519Identity, encrypt
from storage.container import StreamInfo, encode_header

pytestmark = pytest.mark.interop

PORT = 8443


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    shelf = make_shelf(tmp_path_factory.mktemp("console") / "rig")
    record(shelf, *TAKES)
    return shelf


@pytest.fixture
def served(made: Shelf) -> Iterator[tuple[Stage, str]]:
    policy = policy_of(
        purposes={
            "training": one_purpose(
                scope__directions=["inbound"],
                pause__payment={"keys": ["*7"], "api": True, "max": "PT3M"},
            ),
            "disputes": one_purpose(scope__directions=["outbound"]),
        },
    )
    with stage(made, policy, console=STATIC) as api:
        yield api, f"http://127.0.0.1:{api.port}"


@pytest.fixture
def visit(served: tuple[Stage, str]) -> Iterator[Visit]:
    """The console, signed in by the privacy officer; nothing may go wrong in the page."""
    with browsing(served[1]) as tab:
        tab.sign_in(secret_of("privacy"))
        yield tab
        assert tab.faults == []


# ------------------------------------------------------------ a real daemon
def test_a_real_call_is_found_by_number_and_opened_in_the_browser_alone(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    token = _configure(rig)
    rig.daemon.start()
    call = rig.dial(seconds=8)
    recording = rig.recorded(call)
    rig.talk_on(call, 3)
    call.hang_up()
    rig.sealed(call)
    secret = rig.daemon.identity.read_text().strip().splitlines()[-1]
    with browsing(f"http://{rig.daemon.addresses.daemon}:{PORT}") as visit:
        visit.sign_in(token)
        visit.page.get_by_label("Telephone number").fill(CALLER_NUMBER)
        visit.page.get_by_role("button", name="Search").click()
        expect(visit.page.get_by_text("1 recording", exact=True)).to_be_visible()
        visit.page.get_by_role("link", name=recording[:12]).click()
        visit.open_recording(secret)
        decoded = visit.opened()

        wave = rig.wave(recording)
        frames = np.stack([mulaw_decode(bytes(wave.channel(side))) for side in (0, 1)], axis=1)
        assert decoded == digest(frames)

        opened = [answer.body() for path, answer in visit.got if path.split("?")[0].endswith("/file")]
        assert opened == [rig.daemon.key(recording).read_bytes() + rig.daemon.body(recording).read_bytes()]
        said = "\n".join(visit.sent)
        assert token in said, "the requests were not written down"
        assert secret not in said
        assert secret.removeprefix("AGE-SECRET-KEY-1")[:16] not in said
        assert all(CALLER_NUMBER[3:] not in line.split(" ")[1] for line in visit.sent), "a number in a URL"
        outside = [line for line in visit.sent if f" {visit.base}/" not in line]
        assert outside == [], "the console talks to somebody else"
        assert visit.kept() == '[{},{},"",[],[],"",null]'

        visit.page.get_by_role("button", name="Lock").click()
        expect(visit.page.get_by_label("Access token")).to_be_visible()
        assert secret not in visit.page.content()
        assert token not in visit.page.content()
        assert visit.faults == []
    opened_by = [
        line["actor"] for line in read_events(OsFiles(rig.daemon.data)) if line["event"] == "playback.opened"
    ]
    assert opened_by == ["token:officer"]
    assert token not in rig.daemon.everything_said


def _configure(rig: Rig) -> str:
    """Let a privacy officer in who may hear the recordings; returns the token."""
    daemon = rig.daemon
    listen = {"address": daemon.addresses.daemon, "port": PORT, "plain": True}
    daemon.change(api=(listen,))
    policy = yaml.safe_load(daemon.policy.read_text())
    policy["roles"]["coach"]["users"].append("officer")
    daemon.policy.write_text(yaml.safe_dump(policy))
    made = daemon.cli("api", "token", "--name", "officer", "--role", "privacy")
    return next(word for word in made.stdout.split() if word.startswith("rpx_"))


# ---------------------------------------------------------------- listening
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
    assert not [path for path, _ in visit.got if "/file" in path], "nothing is fetched without an identity"
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


def test_half_an_hour_is_opened_in_little_memory_and_joins_without_a_seam(visit: Visit) -> None:
    identity = X25519Identity.generate()
    header = encode_header(AudioFormat(Encoding.ULAW, 8_000), StreamInfo(TAKES[0].id, {}))
    audio = np.random.default_rng(7).integers(0, 256, 2 * 8_000 * 1_800, dtype=np.uint8)
    visit.page.route("**/file?*", answering(encrypt(header + audio.tobytes(), [identity.recipient])))
    show(visit, TAKES[0].id)
    processes = visit.renderers()
    for process in processes:
        (process / "clear_refs").write_text("5")  # the peak is counted from here
    before_kib = _peak_kib(processes)
    visit.open_recording(identity.secret_text())
    assert visit.opened() == digest(mulaw_decode(audio.tobytes()).reshape(-1, 2))
    assert _peak_kib(processes) - before_kib < 200 * 1024, "28 MiB of mu-law"
    position = visit.page.get_by_label("Position")
    position.focus()
    position.press("End")
    assert float(position.input_value()) == pytest.approx(1_800, abs=0.1)
    visit.page.get_by_role("button", name="Close recording").click()


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


# ------------------------------------------------------------------ the rest
def test_every_view_opens_in_both_languages_in_light_and_dark(served: tuple[Stage, str], made: Shelf) -> None:
    api, base = served
    ring(api)
    for dark in (False, True):
        with browsing(base, dark=dark) as visit:
            visit.sign_in(secret_of("privacy"))
            if not dark:
                picture(visit, "recordings")
            for name in ("Live calls", "Retention", "Holds", "Audit", "Recordings"):
                visit.go(name)
                _is_labelled(visit)
                expect(visit.page.locator("main")).not_to_have_attribute("aria-busy", "true")
                assert visit.barriers() == [], name
                if name == "Retention" and not dark:
                    picture(visit, "retention")
            visit.page.get_by_label("Language").select_option("nl")
            expect(visit.page.get_by_role("heading", level=1)).to_have_text("Opnames")
            assert visit.page.evaluate("document.documentElement.lang") == "nl"
            for name in ("Lopende gesprekken", "Bewaring", "Bewaarbevelen", "Audit", "Opnames"):
                visit.go(name)
            assert visit.faults == []


def _is_labelled(visit: Visit) -> None:
    nameless = visit.page.evaluate(
        """() => [...document.querySelectorAll('input, select, textarea, button, canvas, svg[role=img]')]
            .filter((one) => !one.labels?.length && !one.ariaLabel && !one.textContent.trim())
            .map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_recordings_are_filtered_and_what_is_gone_is_told(visit: Visit) -> None:
    rows = visit.page.get_by_role("row")
    expect(rows).to_have_count(1 + 4)
    visit.page.get_by_label("Purpose").select_option("disputes")
    visit.page.get_by_role("button", name="Search").click()
    expect(rows).to_have_count(1 + 1)
    visit.page.get_by_label("Purpose").select_option("")
    visit.page.get_by_label("State").select_option("discarded")
    visit.page.get_by_role("button", name="Search").click()
    expect(rows).to_have_count(1 + 1)
    visit.page.get_by_role("link", name=TAKES[4].id[:12]).click()
    expect(visit.page.get_by_text("This recording is gone.")).to_be_visible()


def test_a_hold_takes_two_people(served: tuple[Stage, str], visit: Visit) -> None:
    api, _ = served
    visit.go("Holds")
    visit.page.get_by_label("Recordings, an id on each line").fill(TAKES[1].id)
    visit.page.get_by_label("Case reference").fill("CASE-7")
    visit.page.get_by_label("Last day").fill("2027-01-31")
    visit.page.get_by_role("button", name="Request", exact=True).click()
    expect(visit.page.get_by_text("waits for approval")).to_be_visible()
    visit.page.get_by_role("button", name="Approve").click()
    assert "another person must approve it" in visit.complaint()
    other = somebody_else(visit)
    other.sign_in(secret_of("second"))
    other.go("Holds")
    other.page.get_by_role("button", name="Approve").click()
    expect(other.page.get_by_text("active", exact=True)).to_be_visible()
    other.page.on("dialog", lambda dialog: dialog.accept())
    other.page.get_by_role("button", name="Release").click()
    expect(other.page.get_by_text("No holds.")).to_be_visible()
    assert [line["event"] for line in api.chain() if line["event"].startswith("hold.")] == [
        "hold.requested",
        "hold.approved",
        "hold.lifted",
    ]


def test_the_audit_chain_is_verified_and_a_changed_line_is_named(
    served: tuple[Stage, str], made: Shelf, visit: Visit
) -> None:
    visit.go("Audit")
    visit.page.get_by_role("button", name="Verify the chain").click()
    expect(visit.page.get_by_text("The chain is sound")).to_be_visible()
    chain = next(
        path for path in made.data.rglob("*") if path.is_file() and b"rec.started" in path.read_bytes()
    )
    whole = chain.read_bytes()
    try:
        chain.write_bytes(whole.replace(b'"outcome":"sealed"', b'"outcome":"seALed"', 1))
        visit.page.get_by_role("button", name="Verify the chain").click()
        expect(visit.page.get_by_text("The chain is broken at line")).to_be_visible()
    finally:
        chain.write_bytes(whole)


def test_a_live_call_is_paused_by_who_may_and_its_numbers_are_masked(served: tuple[Stage, str]) -> None:
    api, base = served
    ring(api)
    with browsing(base) as visit:
        visit.sign_in(secret_of("operator"))
        visit.go("Live calls")
        expect(visit.page.get_by_text("recording", exact=True)).to_be_visible()
        assert CALLER[4:] not in visit.page.content()
        visit.page.get_by_role("button", name="Pause recording").click()
        assert "all is still recorded" in visit.complaint()  # no call machine answered
        visit.page.get_by_role("button", name="Pause recording").click()
        eventually(lambda: len(api.posted) == 2, within_s=5, what="the pause was asked for again")
        api.live.noted(CALL, Note("recording.paused"))
        expect(visit.page.get_by_text("paused", exact=True)).to_be_visible()
        expect(visit.page.get_by_role("button", name="Resume recording")).to_be_visible()
        assert [(call, type(event)) for call, event in api.posted] == [(CALL, PauseAsked)] * 2
        assert not visit.page.get_by_role("link", name="Holds").is_visible(), (
            "no view that the role may not see"
        )


def test_what_the_server_sends_is_shown_as_text(visit: Visit) -> None:
    def hostile(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=poisoned(answer.json()))

    visit.page.route("**/v1/**", hostile)
    for name in ("Live calls", "Retention", "Holds", "Audit", "Recordings"):
        visit.go(name)
        expect(visit.page.locator("main")).not_to_have_attribute("aria-busy", "true")
        assert visit.page.locator("img, main script, iframe").count() == 0
        assert visit.page.title() != "owned"
    expect(visit.page.get_by_text(HOSTILE[:30]).first).to_be_visible()


def test_a_wrong_token_is_refused_and_nothing_is_kept_of_it(served: tuple[Stage, str]) -> None:
    with browsing(served[1]) as visit:
        visit.page.get_by_label("Access token").fill("rpx_wrong")
        visit.page.get_by_role("button", name="Sign in").click()
        assert "not known" in visit.complaint()
        assert visit.page.get_by_label("Access token").input_value() == ""


def test_it_locks_itself_after_ten_minutes_without_use(served: tuple[Stage, str]) -> None:
    with browsing(served[1]) as visit:
        visit.page.clock.install(time=datetime(2026, 11, 24, tzinfo=UTC))
        visit.page.reload()
        visit.sign_in(secret_of("privacy"))
        visit.page.clock.fast_forward("09:00")
        visit.page.get_by_role("heading", level=1).click()
        visit.page.clock.fast_forward("09:59")
        expect(visit.page.get_by_role("navigation")).to_be_visible()
        visit.page.clock.fast_forward("00:02")
        assert visit.complaint() == "Locked after 10 minutes without use."
        assert visit.faults == []


def test_the_policy_of_contents_forbids_what_is_not_its_own(served: tuple[Stage, str]) -> None:
    with browsing(served[1]) as visit:
        answer = visit.page.goto(visit.base)
        assert answer is not None
        assert "default-src 'self'" in (answer.header_value("content-security-policy") or "")
        visit.page.evaluate(
            """() => {
                const script = document.createElement('script');
                script.textContent = "document.title = 'owned'";
                document.head.append(script);
            }"""
        )
        assert visit.page.title() != "owned"
        assert any("Content Security Policy" in fault for fault in visit.faults)
