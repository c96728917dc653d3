"""The web console in headless Chromium, as a person uses it, with all that it sends written down."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

import recproxy

__all__ = ["STATIC", "Visit", "browsing", "somebody_else"]

STATIC: Final = Path(recproxy.__file__).parent / "console" / "static"
_FLAGS: Final = (
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
)


@dataclass(slots=True)
class Visit:
    """One tab with the console in it.

    Attributes:
        page: The tab.
        base: Where the console is served.
        sent: All that the tab sent: method, address, headers and body of each request.
        faults: Errors of the page: exceptions, what the policy of contents forbade.
    """

    page: Page
    base: str
    sent: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def sign_in(self, token: str) -> None:
        """Show a token at the door."""
        self.page.get_by_label("Access token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("navigation")).to_be_visible()

    def go(self, view: str) -> None:
        """Open a view by its name in the navigation."""
        self.page.get_by_role("navigation").get_by_role("link", name=view).click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text(view)

    def open_recording(self, identity: Path | str, use: str = "training") -> None:
        """On the page of a recording: declare a use, give an identity, and open it."""
        self.page.get_by_label("What do you open it for?").select_option(use)
        if isinstance(identity, Path):
            self.page.get_by_label("Identity file").set_input_files(identity)
        else:
            self.page.get_by_label("or paste it").fill(identity)
        self.page.get_by_role("button", name="Open", exact=True).click()

    def opened(self) -> str:
        """Wait until a recording is open.

        Returns:
            SHA-256 of its samples as the browser decoded them: 16-bit PCM, caller and callee in turn.
        """
        player = self.page.get_by_role("region", name="Player")
        expect(player).to_be_visible(timeout=20_000)
        return player.get_attribute("data-pcm-sha256") or ""

    def complaint(self) -> str:
        """Wait for an error and return it."""
        alert = self.page.get_by_role("alert")
        expect(alert).to_be_visible(timeout=20_000)
        return alert.inner_text()

    def barriers(self) -> list[str]:
        """What keeps people from using the page as it stands: serious findings of axe-core (WCAG 2.2 AA)."""
        self.page.evaluate(_axe().read_text())
        found = self.page.evaluate(
            """async () => (await axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']}))
                .violations.filter((one) => ['serious', 'critical'].includes(one.impact))
                .flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 120)}`))"""
        )
        return list(found)

    def renderers(self) -> list[Path]:
        """Processes that pages live in; one of them is this page's."""
        browser = self.page.context.browser
        assert browser is not None
        told = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
        return [Path("/proc") / str(one["id"]) for one in told if one["type"] == "renderer"]

    def kept(self) -> str:
        """All that the tab has put where it would outlive the tab."""
        found = self.page.evaluate(
            """async () => JSON.stringify([
                {...localStorage}, {...sessionStorage}, document.cookie,
                await indexedDB.databases(), await caches.keys(), window.name, history.state,
            ])"""
        )
        return str(found)


@contextlib.contextmanager
def browsing(base: str, *, dark: bool = False) -> Iterator[Visit]:
    """Open the console in a fresh browser.

    Args:
        base: Where it is served, such as ``http://127.0.0.1:8443``.
        dark: Whether the person prefers dark.
    """
    chromium = shutil.which("chromium")
    assert chromium is not None, "chromium is missing: tools/system.sh installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_FLAGS))
        try:
            yield _visit(browser, base, dark=dark)
        finally:
            browser.close()


def somebody_else(visit: Visit) -> Visit:
    """Open the console anew, as on another machine: nothing is shared with the first tab."""
    browser = visit.page.context.browser
    assert browser is not None
    return _visit(browser, visit.base, dark=False)


def _axe() -> Path:
    """Where tools/console.sh has put axe-core."""
    sources = STATIC.parent
    locked = b"".join((sources / name).read_bytes() for name in ("package.json", "package-lock.json"))
    cache = os.environ.get("RECPROXY_CACHE") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recproxy"
    )
    packages = Path(cache) / f"console-{hashlib.sha256(locked).hexdigest()[:12]}"
    return packages / "node_modules" / "axe-core" / "axe.min.js"


def _visit(browser: Browser, base: str, *, dark: bool) -> Visit:
    context = browser.new_context(
        locale="en-GB",
        timezone_id="Europe/Amsterdam",
        viewport={"width": 1180, "height": 820},
        color_scheme="dark" if dark else "light",
    )
    visit = Visit(context.new_page(), base)
    _listen(visit)
    visit.page.goto(base)
    return visit


def _listen(visit: Visit) -> None:
    def sent(request: Request) -> None:
        visit.sent.append(f"{request.method} {request.url} {request.headers} {request.post_data or ''}")

    def said(message: ConsoleMessage) -> None:
        refused = message.text.startswith("Failed to load resource")  # an answer that the console shows
        if message.type in {"error", "warning"} and not refused:
            visit.faults.append(message.text)

    visit.page.on("request", sent)
    visit.page.on("pageerror", lambda error: visit.faults.append(str(error)))
    visit.page.on("console", said)
