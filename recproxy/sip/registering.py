"""The registrations of all trunks, on the signalling thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from recproxy.call.commands import Note
from recproxy.sip import native
from recproxy.sip.registration import Credentials, News, Registration
from recproxy.sip.router import Located
from recproxy.sip.stack import SipSettings, Stack
from recproxy.sip.targets import Below, Hop

__all__ = ["Registrations"]


class Registrations:
    """Registers, tries again, and tells what changed."""

    def __init__(
        self,
        stack: Stack,
        settings: SipSettings,
        tell: Callable[[Note], None],
        monotonic: Callable[[], float],
        below: Below,
        locate: Located,
    ) -> None:
        self._stack = stack
        self._settings = settings
        self._tell = tell
        self._monotonic = monotonic
        self._below = below
        self._locate = locate
        self._credentials: dict[str, Credentials] = {}
        self._states: dict[str, Registration] = {}

    @property
    def standing(self) -> bool:
        """Whether a registrar still holds one."""
        return any(state.standing for state in self._states.values())

    def replace(self, credentials: Mapping[str, Credentials]) -> None:
        """Take other credentials; a registration whose credentials are the same goes on."""
        for trunk, former in list(self._credentials.items()):
            if credentials.get(trunk) != former:
                self._stack.retire(trunk)
                del self._credentials[trunk], self._states[trunk]
        for trunk, wanted in credentials.items():
            if trunk not in self._credentials:
                self._credentials[trunk] = wanted
                self._states[trunk] = Registration()

    def tend(self) -> None:
        """Send what is due; between two polls."""
        now = self._monotonic()
        for trunk, state in self._states.items():
            if not state.due(now):
                continue
            wanted = self._credentials[trunk]
            contact = self._settings.contact(wanted.registrar.transport, wanted.registrar.host)
            ours = contact.replace("sip:recproxy@", f"sip:{wanted.user}@", 1)
            servers = self._locate(wanted.registrar)
            if not servers or not self._register(trunk, wanted, servers[0], ours):
                self.answered(trunk, 503, "Service Unavailable", 0)

    def _register(self, trunk: str, wanted: Credentials, hop: Hop, ours: str) -> bool:
        if not (wanted.registrar.is_name and hop.transport == "tls"):
            return self._stack.register(trunk, wanted, str(hop), ours)
        # Asked for by its name, for which its certificate must be, now and whenever PJSIP renews it.
        native.locate(wanted.registrar.host, f"{hop.host}:{hop.port}")
        sent = self._stack.register(trunk, wanted, str(replace(wanted.registrar, port=hop.port)), ours)
        native.locate("", "")
        return sent

    def end(self) -> None:
        """Tell every registrar to forget us; their answers come in as before."""
        for trunk, state in self._states.items():
            if not state.ending:
                state.end()
                if not (state.standing and self._stack.unregister(trunk)):
                    state.standing = False

    def answered(self, trunk: str, code: int, reason: str, expires_s: int) -> None:
        """A registrar has answered, or did not."""
        state = self._states.get(trunk)
        if state is None:
            return  # of a trunk that is no more
        news = state.answered(code, expires_s, self._monotonic(), self._below)
        match news:
            case News.COMPLETED:
                self._tell(Note(news.value, (("trunk", trunk), ("seconds", expires_s))))
            case News.ENDED:
                self._tell(Note(news.value, (("trunk", trunk),)))
            case News.FAILED:
                self._tell(Note(news.value, (("trunk", trunk), ("code", code), ("reason", reason))))
            case None:
                pass
