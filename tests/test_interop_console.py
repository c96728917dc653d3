"""The web console in headless Chromium: a recording is opened by the browser alone.

With RECPROXY_PICTURES=DIRECTORY, pictures of it are put there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from api_stage import CALL, Stage, policy_of, secret_of, stage
from browser import STATIC, Visit, browsing, somebody_else
from console_stage import (
    HOSTILE,
    TAKES,
    digest,
    picture,
    poisoned,
    ring,
    serving,
    show,
    signed_in,
)
from daemon import eventually
from playwright.sync_api import Route, expect
from policies import one_purpose
from recorded import CALLER, Shelf, Take, make_shelf, record
from rig import CALLER_NUMBER, Rig

from recproxy.call.commands import Note
from recproxy.call.events import PauseAsked
from rtp.codecs.g711 import mulaw_decode
from storage import OsFiles, read_events

pytestmark = pytest.mark.interop

PORT = 8443


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

        (asked,) = (line.split(" ")[1] for line in visit.sent if "/file?" in line.split(" ")[1])
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
    given = httpx.get(asked, headers={"Authorization": f"Bearer {token}"})
    assert given.content == rig.daemon.key(recording).read_bytes() + rig.daemon.body(recording).read_bytes()
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


# ------------------------------------------------------------------ the rest
def test_every_view_opens_in_both_languages_in_light_and_dark(served: tuple[Stage, str], made: Shelf) -> None:
    api, base = served
    ring(api)
    for dark in (False, True):
        with browsing(base, dark=dark) as visit:
            visit.sign_in(secret_of("privacy"))
            if not dark:
                picture(visit, "recordings")
            for name in ("Live calls", "Retention", "Requests", "Holds", "Audit", "Recordings"):
                visit.go(name)
                _is_labelled(visit)
                expect(visit.page.locator("main")).not_to_have_attribute("aria-busy", "true")
                assert visit.barriers() == [], name
                if name == "Retention" and not dark:
                    picture(visit, "retention")
            visit.page.get_by_label("Language").select_option("nl")
            expect(visit.page.get_by_role("heading", level=1)).to_have_text("Opnames")
            assert visit.page.evaluate("document.documentElement.lang") == "nl"
            for name in ("Lopende gesprekken", "Bewaring", "Verzoeken", "Bewaarbevelen", "Audit", "Opnames"):
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


def test_two_people_agree_before_a_recording_is_heard(
    served: tuple[Stage, str], made: Shelf, visit: Visit
) -> None:
    api, _ = served
    show(visit, TAKES[1].id)
    visit.page.get_by_label("Reference").fill("CASE-9")
    assert visit.barriers() == []
    visit.page.get_by_role("button", name="Ask to hear it").click()
    expect(visit.page.get_by_text("Another person must approve it")).to_be_visible()
    visit.go("Requests")
    visit.page.get_by_role("button", name="Approve").click()
    assert "another person must approve it" in visit.complaint()
    other = somebody_else(visit)
    other.sign_in(secret_of("coach1"))
    other.go("Requests")
    other.page.get_by_role("button", name="Approve").click()
    expect(other.page.get_by_text("approved", exact=True)).to_be_visible()
    assert other.barriers() == []
    show(visit, TAKES[1].id)
    visit.open_recording(made.identity, "disputes")
    visit.opened()
    assert [
        (line["event"], line["actor"]) for line in api.chain() if line["event"].startswith("playback.")
    ] == [
        ("playback.requested", "token:privacy"),
        ("playback.approved", "token:coach1"),
        ("playback.opened", "token:privacy"),
    ]


def test_what_came_of_a_call_keeps_its_recording_longer(tmp_path: Path) -> None:
    keep = {"tag": "agreement_made", "keep": "P90D", "rationale": {"nl": "Bewijs."}}
    retention = {"keep": "P30D", "rationale": {"nl": "Kort."}, "promote": keep}
    policy = policy_of(purposes={"training": one_purpose(retention=retention)})
    shelf, take = make_shelf(tmp_path / "rig"), Take(7, policy=policy.version)
    record(shelf, take)
    with stage(shelf, policy, console=STATIC) as api, browsing(f"http://127.0.0.1:{api.port}") as visit:
        visit.sign_in(secret_of("privacy"))
        show(visit, take.id)
        visit.page.get_by_label("Outcome").select_option("agreement_made: 90 days")
        assert visit.barriers() == []
        visit.page.get_by_role("button", name="Keep longer").click()
        expect(visit.page.get_by_text("Kept longer because of: agreement_made.")).to_be_visible()
        expect(visit.page.get_by_role("button", name="Keep longer")).to_have_count(0)
        (line,) = api.chain("rec.promoted")
        assert (line["actor"], line["tag"]) == ("token:privacy", "agreement_made")
        assert visit.faults == []


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
    for name in ("Live calls", "Retention", "Requests", "Holds", "Audit", "Recordings"):
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
