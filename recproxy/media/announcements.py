"""Announcements and tones on the wire: who hears which, and that it was heard to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from announcer import EncodedPrompt, PromptError, PromptSet, playout, tone
from recproxy.call.commands import Note, PlayPrompt, PlayTone
from recproxy.call.events import Codec, Event, LegName, PromptCompleted, PromptFailed, PromptStarted
from recproxy.media.sink import Clock
from rtp import PlaybackEvent, PlaybackState, Playout, Relay, RelayError, Side

__all__ = ["SIDES", "Announcements"]

SIDES: Final = {LegName.CALLER: Side.CALLER, LegName.CALLEE: Side.CALLEE}
_PTIMES_MS: Final = frozenset({10, 20, 30, 40, 60})
# An announcement is made for these clocks; at another it would be heard too fast to be understood.
_CLOCKS_HZ: Final = {"PCMU": 8000, "PCMA": 8000, "G722": 8000, "G729": 8000, "OPUS": 48000}


@dataclass(slots=True)
class _Announcement:
    waiting: dict[int, LegName]
    heard: list[LegName]
    sha256: str
    name: str
    language: str


class Announcements:
    """What the engine plays to the legs of all calls."""

    def __init__(
        self,
        *,
        relay: Relay,
        prompts: PromptSet,
        clock: Clock,
        random32: Callable[[], int],
        post: Callable[[str, Event], None],
        note: Callable[[str, Note], None],
    ) -> None:
        """Compose it.

        Args:
            relay: The native engine.
            prompts: Loaded announcements.
            clock: Time.
            random32: 32 random bits, for SSRC, sequence number and timestamp (RFC 3550 section 5.1).
            post: Takes events, any thread.
            note: Takes lines for the event log.
        """
        self._relay = relay
        self._prompts = prompts
        self._clock = clock
        self._random32 = random32
        self._post = post
        self._note = note
        self._running: dict[str, _Announcement] = {}
        self._playbacks: dict[int, str] = {}

    def use(self, prompts: PromptSet) -> None:
        """Play these from now on; what is being played goes on."""
        self._prompts = prompts

    @property
    def playing(self) -> bool:
        """Whether an announcement is on the wire, whose end is waited for."""
        return bool(self._playbacks)

    def poll(self) -> None:
        """Turn the engine's playback reports into events."""
        for report in self._relay.poll_playbacks():
            call = self._playbacks.pop(report.playback, None)
            if call is not None:
                self._played(call, report)

    def play(self, call: str, stream: int, command: PlayPrompt) -> None:
        """Play it to all who must hear it at once; its start, end or failure comes back as an event."""
        try:
            prompt = self._prompts.get(command.prompt, command.language)
            encoded = prompt.encoded(_speakable(command.codec), _frame_ms(command.ptime_ms))
        except PromptError as err:
            self._post(call, PromptFailed(str(err)))
            return
        announcement = _Announcement({}, [], prompt.sha256, command.prompt, command.language)
        self._running[call] = announcement
        for leg in command.legs:
            try:
                playback = self._relay.play(stream, SIDES[leg], self._playout(encoded, command.codec))
            except RelayError as err:
                self.stop(call)
                self._post(call, PromptFailed(str(err)))
                return
            announcement.waiting[playback] = leg
            self._playbacks[playback] = call
        self._post(call, PromptStarted(self._clock.utcnow()))

    def _playout(self, encoded: EncodedPrompt, codec: Codec) -> Playout:
        return playout(
            encoded,
            payload_type=codec.payload_type,
            ssrc=self._random32(),
            sequence=self._random32() & 0xFFFF,
            timestamp=self._random32(),
        )

    def play_tone(self, call: str, stream: int, command: PlayTone) -> None:
        """Play a tone or a few words to one leg; nobody waits for their end."""
        try:
            form = (_speakable(command.codec), _frame_ms(command.ptime_ms))
            words = command.words
            encoded = self._prompts.get(words.prompt, words.language).encoded(*form) if words else tone(*form)
            self._relay.play(stream, SIDES[command.leg], self._playout(encoded, command.codec))
        except (PromptError, RelayError) as err:
            what = ("what", "tone")
            self._note(call, Note("media.failed", (("leg", command.leg.value), what, ("why", str(err)))))

    def _played(self, call: str, report: PlaybackEvent) -> None:
        announcement = self._running.get(call)
        if announcement is None or report.playback not in announcement.waiting:
            return
        leg = announcement.waiting.pop(report.playback)
        if report.state is not PlaybackState.COMPLETED:
            self.stop(call)
            what = "stopped" if report.state is PlaybackState.STOPPED else "could not be sent"
            self._post(
                call,
                PromptFailed(f"announcement to the {leg.value} {what} after {report.frames_sent} frames"),
            )
            return
        announcement.heard.append(leg)
        if not announcement.waiting:
            del self._running[call]
            heard = tuple(name for name in LegName if name in announcement.heard)
            at, proof = self._wall(report.at_ns), announcement
            self._post(call, PromptCompleted(at, proof.name, proof.sha256, proof.language, heard))

    def stop(self, call: str) -> None:
        """Stop what is playing; nothing more is told of it."""
        announcement = self._running.pop(call, None)
        for playback in announcement.waiting if announcement is not None else ():
            self._playbacks.pop(playback, None)
            self._relay.stop_play(playback)

    def forget(self, call: str) -> None:
        """The call is over, and its streams are about to go: nothing more is told of it."""
        self._running.pop(call, None)

    def _wall(self, at_ns: int) -> datetime:
        """Wall time of a monotonic instant in the recent past."""
        ago = self._clock.monotonic_ns() - at_ns
        return self._clock.utcnow() - timedelta(microseconds=ago // 1000)


def _speakable(codec: Codec) -> str:
    """Name of a codec that an announcement can be made in.

    Raises:
        PromptError: Its clock or its channels are not those that its name stands for.
    """
    mono = codec.channels == 1 or codec.name == "OPUS"  # which says 2, whatever it carries (RFC 7587)
    if codec.clock_hz != _CLOCKS_HZ.get(codec.name) or not mono:
        raise PromptError(
            f"no announcement can be made in {codec.name}/{codec.clock_hz}/{codec.channels}; "
            "agree on PCMU, PCMA, G722 or G729 at 8000 Hz or opus at 48000 Hz"
        )
    return codec.name


def _frame_ms(ptime_ms: int) -> int:
    return ptime_ms if ptime_ms in _PTIMES_MS else 20
