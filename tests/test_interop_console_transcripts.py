"""Transcripts in the web console: opened by the browser alone, shown as text, gone with the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_stage import Stage, headers
from browser import Visit
from console_stage import HOSTILE, TAKES, answering, picture, serving, show, signed_in
from playwright.sync_api import Locator, expect
from recorded import Shelf, copy_of, make_shelf, record

from storage.age import X25519Identity, encrypt

pytestmark = pytest.mark.interop

VTT = """WEBVTT

NOTE by hand

00:00:00.200 --> 00:00:03.000
<v caller>Good morning, it is about <i>my invoice</i> &amp; a refund.

2
00:01:04.500 --> 00:01:09.000
<v callee>One moment.</v>
<v A third party>Hello?
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    shelf = make_shelf(tmp_path_factory.mktemp("console") / "rig")
    record(shelf, TAKES[0])
    return shelf


@pytest.fixture
def served(made: Shelf, tmp_path: Path) -> Iterator[tuple[Stage, str]]:
    with serving(copy_of(made, tmp_path / "rig")) as served:
        yield served


@pytest.fixture
def visit(served: tuple[Stage, str]) -> Iterator[Visit]:
    with signed_in(served[1]) as tab:
        yield tab


def keep(api: Stage, text: str) -> None:
    asked = {"use": "training", "language": "en", "by": "a typist"}
    path = f"/v1/recordings/{TAKES[0].id}/transcript"
    kept = api.client.post(path, params=asked, headers=headers("privacy"), content=text.encode())
    assert kept.status_code == 201, kept.text


def opened(visit: Visit, identity: str) -> Locator:
    """On the page of the recording, its transcript after it was asked for."""
    show(visit, TAKES[0].id)
    part = visit.page.get_by_role("region", name="Transcript", exact=True).first
    expect(part).to_contain_text("a typist")
    part.get_by_label("What do you open it for?").select_option("training")
    part.get_by_label("or paste it").fill(identity)
    part.get_by_role("button", name="Open", exact=True).click()
    return part


def test_who_said_what_is_shown_and_audited(made: Shelf, served: tuple[Stage, str], visit: Visit) -> None:
    keep(served[0], VTT)
    part = opened(visit, made.identity.read_text())
    rows = part.get_by_role("row")
    expect(rows).to_have_count(4)
    assert rows.all_inner_texts()[1:] == [
        "0:00\tCaller\tGood morning, it is about my invoice & a refund.",
        "1:05\tCallee\tOne moment.",
        "1:05\tA third party\tHello?",
    ]
    assert visit.barriers() == []
    picture(visit, "transcript")
    (line,) = served[0].chain("derived.opened")
    assert (line["actor"], line["use"], line["to"]) == ("token:privacy", "training", "api")
    assert "invoice" not in "\n".join(visit.sent)
    assert "invoice" not in visit.kept()
    part.get_by_role("button", name="Close transcript").click()
    expect(visit.page.get_by_text("my invoice")).to_have_count(0)


def test_plain_text_stays_text(made: Shelf, served: tuple[Stage, str], visit: Visit) -> None:
    keep(served[0], f"caller: {HOSTILE}\ncallee: no\n")
    part = opened(visit, made.identity.read_text())
    expect(part.get_by_text("callee: no")).to_contain_text(HOSTILE)
    assert visit.page.title() != "owned"


def test_another_identity_and_a_cut_file_say_why(
    made: Shelf, served: tuple[Stage, str], visit: Visit
) -> None:
    keep(served[0], VTT)
    other = X25519Identity.generate()
    opened(visit, other.secret_text())
    assert "was made for another" in visit.complaint()
    visit.page.route("**/transcript?*", answering(encrypt(VTT.encode(), [other.recipient])[:-1]))
    visit.page.evaluate("location.hash = '#retention'")
    opened(visit, other.secret_text())
    assert "damaged" in visit.complaint()


def test_a_recording_without_one_shows_none(visit: Visit) -> None:
    show(visit, TAKES[0].id)
    expect(visit.page.get_by_role("heading", name="Transcript")).to_have_count(0)
