"""The servers of all trunks in life: names asked of DNS, OPTIONS sent, changes told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from recproxy.call.commands import Note
from recproxy.sip import native
from recproxy.sip.naming import Names
from recproxy.sip.peernames import PeerNames
from recproxy.sip.resolver import Resolver
from recproxy.sip.router import Probe, Router, Routes
from recproxy.sip.stack import SipSettings, Stack
from recproxy.sip.targets import Below, Hop, Target

__all__ = ["Servers"]

_LOOK_S: Final = 0.05  # nothing here has a deadline that comes sooner than a second
_UNAVAILABLE: Final = 503


class Servers:
    """Feeds the router with what DNS and OPTIONS tell; belongs to the signalling thread."""

    def __init__(
        self,
        stack: Stack,
        settings: SipSettings,
        routes: Iterable[Routes],
        tell: Callable[[Note], None],
        monotonic: Callable[[], float],
        below: Below,
    ) -> None:
        """Begin with all servers up and no name known.

        Args:
            stack: Sends OPTIONS.
            settings: Addresses and DNS servers.
            routes: The trunks.
            tell: Takes which servers went down or came up.
            monotonic: Monotonic seconds.
            below: Randomness.
        """
        self._stack = stack
        self._tell = tell
        self._monotonic = monotonic
        versions = {listen.ip_version for listen in settings.listen}
        self._names = Names(below, versions)
        self._peers = PeerNames(below, versions, settings.nameservers)
        self._resolver = Resolver(settings.nameservers)
        self._router = Router(routes, self._names.locate, below)
        self._probes: dict[str, list[Probe]] = {}
        self._look_at = 0.0

    @property
    def router(self) -> Router:
        """Chooses where a call goes."""
        return self._router

    @property
    def pending(self) -> bool:
        """Whether a name is not known yet that was asked for."""
        return self._names.pending

    def locate(self, target: Target) -> tuple[Hop, ...]:
        """Where a target is, in order of preference; empty while that is not known."""
        return self._names.locate(target)

    def replace(self, routes: Iterable[Routes]) -> None:
        """Take other trunks."""
        self._router.replace(routes)
        self._look_at = 0.0

    def tend(self) -> None:
        """Take in what DNS said and send what is due; costs nothing between two looks."""
        now = self._monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_S
        self._peers.tend(now)
        for question, answer in self._resolver.answers():
            self._names.learned(question, answer, now)
        self._router.look_up()
        for question in self._names.wanted(now):
            self._resolver.ask(question)
        for probe in self._router.due(now):
            self._ask(probe)
        for told in self._router.told():
            where = (("trunk", told.trunk), ("target", str(told.hop)))
            self._tell(Note(told.change.value, where))

    def options_answered(self, uri: str, code: int, retry_after_s: int | None) -> None:
        """Take in how an OPTIONS to ``uri`` was answered."""
        for probe in self._probes.pop(uri, ()):
            self._router.probe_answered(probe.trunk, probe.hop, code, retry_after_s, self._monotonic())

    def close(self) -> None:
        """Ask DNS no more."""
        self._resolver.close()
        self._peers.close()

    def _ask(self, probe: Probe) -> None:
        uri = str(probe.hop)
        if probe.hop.transport == "tls" and probe.hop.target.is_name:
            # Asked for by its name, for which its certificate must be.
            native.locate(probe.hop.target.host, f"{probe.hop.host}:{probe.hop.port}")
            uri = str(replace(probe.hop.target, port=probe.hop.port))
        self._probes.setdefault(uri, []).append(probe)
        if not self._stack.send_options(uri):
            self.options_answered(uri, _UNAVAILABLE, None)
