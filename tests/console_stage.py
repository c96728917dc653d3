"""What the tests of the web console share: its recordings, its calls, and pages of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from api_stage import CALL, Stage, policy_of, secret_of, stage
from browser import STATIC, Visit, browsing
from call_values import FACTS
from playwright.sync_api import Route, expect
from policies import one_purpose
from recorded import CALLER, RATE_HZ, START, Shelf, Take

from recproxy.call.commands import Note
from recproxy.call.events import InviteReceived

HOSTILE: Final = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@dataclass(frozen=True, slots=True)
class Spoken(Take):
    """A recording of synthetic speech, one party after the other."""

    @property
    def audio(self) -> bytes:
        """µ-law frames."""
        frames = round(self.seconds * RATE_HZ)
        left = _speech("Good morning, I am calling about my invoice of last week.", frames, delay_s=0.2)
        right = _speech("Good morning. I will look it up for you, one moment.", frames, delay_s=4.5)
        woven = bytearray(2 * frames)
        woven[0::2], woven[1::2] = left, right
        return bytes(woven)


def _speech(text: str, frames: int, *, delay_s: float) -> bytes:
    spoken = subprocess.run(["espeak-ng", "--stdout", text], capture_output=True, check=True).stdout
    told = ["sox", "-t", "wav", "-", "-t", "ul", "-r", str(RATE_HZ), "-c", "1", "-", "pad", str(delay_s)]
    laid = subprocess.run(told, input=spoken, capture_output=True, check=True).stdout
    return laid[:frames].ljust(frames, b"\xff")


TAKES: Final = (
    Spoken(1, START, seconds=10, index=True),
    Take(2, START + timedelta(hours=1), kept=timedelta(days=45), purpose="disputes", caller="+31201110000"),
    Take(3, START + timedelta(hours=2), end="abort"),
    Take(4, START + timedelta(hours=3), kept=timedelta(days=1)),
    Take(5, START + timedelta(hours=4), end="discard"),
)


@contextlib.contextmanager
def serving(made: Shelf) -> Iterator[tuple[Stage, str]]:
    """The console and its API on these recordings, and its address; two people must agree on disputes."""
    policy = policy_of(
        purposes={
            "training": one_purpose(
                scope__directions=["inbound"],
                derived={"transcript": "on", "transcript_keep": "P20D", "analytics": "off"},
                pause__payment={"keys": ["*7"], "api": True, "max": "PT3M"},
            ),
            "disputes": one_purpose(
                scope__directions=["outbound"], playback={"roles": ["coach"], "four_eyes": True}
            ),
        },
    )
    with stage(made, policy, console=STATIC) as api:
        yield api, f"http://127.0.0.1:{api.port}"


@contextlib.contextmanager
def signed_in(base: str) -> Iterator[Visit]:
    """The console, signed in by the privacy officer; nothing may go wrong in the page."""
    with browsing(base) as tab:
        tab.sign_in(secret_of("privacy"))
        yield tab
        assert tab.faults == []


def show(visit: Visit, recording: str) -> None:
    """Go to the page of a recording."""
    visit.page.goto(f"{visit.base}/#recordings/{recording}")
    expect(visit.page.get_by_role("heading", name="Listen")).to_be_visible()


def digest(channels: np.ndarray[Any, Any]) -> str:
    """SHA-256 of 16-bit samples, caller and callee in turn."""
    return hashlib.sha256(channels.astype("<i2").tobytes()).hexdigest()


def answering(body: bytes) -> Callable[[Route], None]:
    """Answers a request in the server's place."""

    def answer(route: Route) -> None:
        route.fulfill(body=body)

    return answer


def picture(visit: Visit, name: str) -> None:
    """Keep a picture, if they are asked for."""
    directory = os.environ.get("RECPROXY_PICTURES")
    if directory:
        visit.page.mouse.move(0, 0)
        visit.page.evaluate("scrollTo(0, 0)")
        visit.page.screenshot(path=Path(directory) / f"{name}.png", animations="disabled")


def poisoned(value: Any) -> Any:
    """A document whose every text is hostile."""
    if isinstance(value, dict):
        return {name: poisoned(one) for name, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one) for one in value]
    return HOSTILE if isinstance(value, str) else value


def ring(api: Stage) -> None:
    """A call that goes on and is recorded."""
    api.live.posted(CALL, InviteReceived(replace(FACTS, caller=CALLER), None))
    offered = (("decision", "record"), ("direction", "inbound"), ("purpose", "training"))
    api.live.noted(CALL, Note("call.offered", offered))
    api.live.noted(CALL, Note("recording.opened", (("recording", TAKES[0].id),)))
