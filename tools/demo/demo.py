"""``make demo``: one real call, announced, recorded, encrypted, opened; and one that expires.

Two sipp user agents signal, two RTP end points speak (a telephone and a
colleague at a desk); recproxy stands between them, on loopback. Everything that
is shown is measured, and the demo fails if any promise is broken. What it leaves
is in ``demo-out/``; the export in it is plain audio, made on request.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).parent)]

import listening  # noqa: E402 - the test rig is put on the path above
import picture  # noqa: E402
import voices  # noqa: E402
from daemon import Daemon, Purpose, Settings, age_decrypt, recproxy  # noqa: E402
from loopback import Lease  # noqa: E402
from peers import Sipp  # noqa: E402
from processes import Process, ProcessError  # noqa: E402
from rtp_peer import FRAME_NS, FRAME_SAMPLES, SAMPLE_NS, Heard, RtpPeer, Talk  # noqa: E402
from story import Story  # noqa: E402

OUT = ROOT / "demo-out"
NUMBER, SHORT_NUMBER = "+31301234567", "+31207654321"
RETENTION_S = 8
CALLER_SSRC, CALLEE_SSRC = 0xCA11E700, 0xCA11EE00
MAX_SKEW_MS = 20.0
TIMELINE = (
    ("call.offered", "invited", "blue"),
    ("call.answered", "answered", "blue"),
    ("notice.started", "announcing", "yellow"),
    ("notice.completed", "announced", "yellow"),
    ("recording.opened", "recording", "red"),
    ("call.ended", "ended", "blue"),
    ("recording.sealed", "sealed", "green"),
)


@dataclass(frozen=True, slots=True)
class Told:
    """A finished call.

    Attributes:
        recording: Id of its recording.
        left: What the caller sent, and when.
        right: What the callee sent, and when.
        caller: The caller's RTP end point; ``callee`` the other.
        answered_ns: When it was answered.
        expiry: Until when the recording is kept.
    """

    recording: str
    left: Talk
    right: Talk
    caller: RtpPeer
    callee: RtpPeer
    answered_ns: int
    expiry: str


def main() -> int:
    """Run the demo; returns the exit code."""
    story = Story()
    started = time.monotonic()
    story.title("recproxy", "a call is announced, recorded, encrypted, played back, and shredded on time")
    if OUT.exists():
        shutil.rmtree(OUT)
    OUT.mkdir(mode=0o700)
    try:
        _play(story)
    except (ProcessError, AssertionError, TimeoutError) as err:
        story.console.print(f"\n[bold red]the demo stopped:[/] {err}", markup=True)
        story.promise("the demo runs to its end", kept=False)
    good = story.verdict()
    story.console.print(f"[dim]{time.monotonic() - started:.0f} s; look into {OUT.relative_to(ROOT)}/[/]")
    return 0 if good else 1


def _play(story: Story) -> None:
    settings = Settings(
        purposes={
            "training": Purpose(
                retention="P30D", text="Dit gesprek wordt opgenomen voor training.", match=(NUMBER,)
            ),
            "short": Purpose(
                retention=f"PT{RETENTION_S}S",
                text="Dit gesprek wordt kort bewaard.",
                match=(SHORT_NUMBER,),
            ),
        },
        retention_interval="PT1S",
    )
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recproxy-demo-")))
        lease = stack.enter_context(Lease.take())
        story.chapter("1  recproxy starts on loopback")
        with story.console.status("keys, spoken announcements, start"):
            daemon = stack.enter_context(Daemon(OUT / "rig", lease.addresses, OUT / "prompts", settings))
            begun = time.monotonic()
            daemon.start()
        story.fact(
            "daemon", f"sip:{daemon.sip[0]}:{daemon.sip[1]}, ready after {time.monotonic() - begun:.1f} s"
        )
        story.fact("caller", f"{lease.addresses.caller}, speaks English, a high voice")
        story.fact("callee", f"{lease.addresses.callee}, speaks Dutch, a low voice")

        story.chapter("2  a call, announced and recorded")
        with _call(story, daemon, scratch, NUMBER, talk_s=14.0) as told:
            _show_files(story, daemon, told)
            _compare(story, daemon, told)
        story.chapter("3  a second recording, kept for eight seconds")
        with _call(story, daemon, scratch, SHORT_NUMBER, talk_s=6.0) as doomed:
            _expire(story, daemon, doomed)
        daemon.cli("audit", "verify")
        story.promise("the audit chain of all of this verifies", kept=True)
        daemon.stop()
        _no_numbers_in_the_log(story, daemon)


@contextmanager
def _call(story: Story, daemon: Daemon, scratch: Path, number: str, *, talk_s: float) -> Iterator[Told]:
    """Make a call that lasts ``talk_s`` from its answer, and tell it as it happens."""
    here = daemon.addresses
    left = voices.speak(voices.CALLER_TEXT, voice="en-gb", pitch=85, seconds=talk_s, seed=1)
    right = voices.speak(voices.CALLEE_TEXT, voice="nl", pitch=20, seconds=talk_s, seed=2)
    directory = scratch / number.lstrip("+")
    directory.mkdir()
    with ExitStack() as stack:
        caller = stack.enter_context(RtpPeer(here.caller))
        callee = stack.enter_context(RtpPeer(here.callee))
        mark = daemon.mark
        answering = stack.enter_context(
            Sipp(
                "callee",
                at=here.callee,
                remote=daemon.sip,
                directory=directory,
                media_port=callee.port,
                ring_ms=1200,
            )
        )
        answering.wait_bound()
        calling = stack.enter_context(
            Sipp(
                "caller",
                at=here.caller,
                remote=daemon.sip,
                directory=directory,
                media_port=caller.port,
                number=number,
                talk_ms=round(talk_s * 1000),
            )
        )
        offered = daemon.wait("call.offered", start=mark)
        _tell(story, "invited", offered.at_ns, offered.at_ns, "blue", f"trunk {offered['trunk']}")
        answered = daemon.wait("call.answered", start=mark)
        # Both learn recproxy's address from the announcement, and start to speak over it.
        talks = [
            peer.talk(said, peer.wait_count(1)[0].source, ssrc=ssrc)
            for peer, said, ssrc in ((caller, left, CALLER_SSRC), (callee, right, CALLEE_SSRC))
        ]
        for event, name, style in TIMELINE[1:]:
            said = daemon.wait(event, start=mark, call_ref=offered["call_ref"], within_s=60)
            _tell(story, name, offered.at_ns, said.at_ns, style, _detail(event, dict(said.fields)))
        calling.finish()
        answering.finish()
        opened = daemon.wait("recording.opened", start=mark)
        for talk in talks:
            talk.stop()
        yield Told(
            str(opened["recording"]),
            talks[0],
            talks[1],
            caller,
            callee,
            answered.at_ns,
            str(opened["expiry"]),
        )


def _tell(story: Story, name: str, zero_ns: int, at_ns: int, style: str, what: str) -> None:
    story.moment((at_ns - zero_ns) / 1e9, name, what, style)


def _detail(event: str, said: dict[str, object]) -> str:
    match event:
        case "notice.started":
            return f"purpose [bold]{said.get('purpose', '')}[/]; the gate between them is shut"
        case "notice.completed":
            return "heard to its last frame by caller and callee"
        case "recording.opened":
            return f"{str(said['recording'])[:8]}…, kept until {said['expiry']}"
        case "recording.sealed":
            lost = f"{said['caller_lost']}+{said['callee_lost']}"
            return f"{int(str(said['frames'])) / 8000:.2f} s; lost {lost} packets"
        case "call.ended":
            return f"{said['outcome']}, {said['talk_s']} s"
        case _:
            return ""


def _show_files(story: Story, daemon: Daemon, told: Told) -> None:
    key, body = daemon.key(told.recording), daemon.body(told.recording)
    story.chapter("   what lies on the disk")
    story.fact(
        "header", f"{key.relative_to(OUT)}, {key.stat().st_size} bytes: the key, wrapped to the recipients"
    )
    story.output(key.read_bytes().split(b"\n---")[0].decode("ascii", "replace"))
    story.fact("body", f"{body.relative_to(OUT)}, {body.stat().st_size:,} bytes")
    story.output(" ".join(f"{byte:02x}" for byte in body.read_bytes()[:24]) + " …")
    story.command(
        f"cat {key.relative_to(ROOT)} \\\n      {body.relative_to(ROOT)} \\\n"
        "      | age -d -i demo-out/rig/identity.txt > call.wav"
    )
    opened = listening.read_wave(daemon.open_with_age(told.recording))
    story.output(f"WAV, {opened.channels} channels, {opened.rate_hz} Hz, µ-law, {opened.frames / 8000:.2f} s")
    story.promise("stock age opens header and body to a stereo WAV", kept=opened.channels == 2)
    story.promise("the body alone does not open", kept=not _opens(body.read_bytes(), daemon.identity))
    audio = [
        talk.audio[at : at + 32] for talk in (told.left, told.right) for at in range(40_000, 100_000, 997)
    ]
    clear = [path for path in daemon.files() if any(piece in path.read_bytes() for piece in audio)]
    story.promise(
        "no file of the daemon holds audio in clear",
        kept=not clear,
        measured=f"{len(daemon.files())} files searched",
    )


def _compare(story: Story, daemon: Daemon, told: Told) -> None:
    story.chapter("   the export, held against what was sent")
    wave_file = OUT / "call.wav"
    story.command(
        f"recproxy recordings export {told.recording[:8]} -c demo-out/rig/recproxy.yaml \\\n"
        "      --use training -i demo-out/rig/identity.txt -o demo-out/call.wav"
    )
    wave = listening.read_wave(daemon.export(told.recording, wave_file))
    runs = []
    for index, (talk, who) in enumerate(((told.left, "caller"), (told.right, "callee"))):
        channel = wave.channel(index)
        run = listening.align(channel, talk.sent)
        runs.append(run)
        whole = run.samples >= len(channel) - 0.1 * listening.RATE_HZ
        side = ("left", "right")[index]
        story.fact(side, f"{run.samples:,} samples of the {who}, bit for bit as sent")
        story.promise(
            f"the {who}'s speech is on the {side}, sample-exact",
            kept=whole,
            measured=f"{run.samples:,} of {len(channel):,}",
        )
    origins = [
        talk.sample_ns(run.sent) - run.recorded * SAMPLE_NS
        for talk, run in zip((told.left, told.right), runs, strict=True)
    ]
    skew_ms = (origins[0] - origins[1]) / 1e6
    story.fact("offset", f"{skew_ms:+.2f} ms between the channels")
    story.promise(
        f"offset between the channels ≤ {MAX_SKEW_MS:.0f} ms",
        kept=abs(skew_ms) <= MAX_SKEW_MS,
        measured=f"{skew_ms:+.2f} ms",
    )
    notices = [
        [p for p in peer.heard if p.ssrc not in {CALLER_SSRC, CALLEE_SSRC}]
        for peer in (told.caller, told.callee)
    ]
    end_ns = max(heard[-1].at_ns for heard in notices) + FRAME_NS
    first_ns = min(talk.sample_ns(run.sent) for talk, run in zip((told.left, told.right), runs, strict=True))
    after_ms = (first_ns - end_ns) / 1e6
    story.fact("first sample", f"spoken {after_ms:.0f} ms after the announcement had been heard to its end")
    story.promise(
        "no sample predates the end of the announcement", kept=after_ms >= 0, measured=f"+{after_ms:.0f} ms"
    )
    zero_ns = told.answered_ns
    picture.draw(
        picture.Scene(
            heard=_heard(told.caller.heard, zero_ns),
            left=listening.ulaw_to_pcm(wave.channel(0)),
            right=listening.ulaw_to_pcm(wave.channel(1)),
            notice=((notices[0][0].at_ns - zero_ns) / 1e9, (end_ns - zero_ns) / 1e9),
            starts=(min(origins) - zero_ns) / 1e9,
            recording=told.recording,
            purpose="training",
            expiry=told.expiry[:10],
        ),
        OUT / "call.png",
    )
    story.fact("picture", "demo-out/call.png: waveform and spectrogram, the announcement's end marked")


def _heard(packets: list[Heard], zero_ns: int) -> picture.Samples:
    """What a party heard, laid out by arrival, from ``zero_ns`` on."""
    payload = [
        (max(0, p.at_ns - zero_ns) // SAMPLE_NS, p.payload)
        for p in packets
        if len(p.payload) == FRAME_SAMPLES
    ]
    silence = bytearray(b"\xff" * (payload[-1][0] + FRAME_SAMPLES))
    for at, samples in payload:
        silence[at : at + FRAME_SAMPLES] = samples
    return listening.ulaw_to_pcm(bytes(silence))


def _expire(story: Story, daemon: Daemon, told: Told) -> None:
    key, body = daemon.key(told.recording), daemon.body(told.recording)
    copy = OUT / "kept-copy.age"
    shutil.copy(body, copy)
    story.chapter("   a copy of the body is kept aside, as a backup would")
    frames = listening.read_wave(age_decrypt(key.read_bytes() + copy.read_bytes(), daemon.identity)).frames
    story.fact("today", f"header + copy open: {frames / 8000:.2f} s of audio")
    story.promise("before its expiry the copy opens", kept=frames > 0)
    story.command("recproxy retention -c demo-out/rig/recproxy.yaml")
    with (
        Process(
            [*recproxy(), "retention", "--config", str(daemon.config)], name="retention", merge_stderr=False
        ) as retention,
        story.console.status(f"waiting for {told.expiry}"),
    ):
        retention.wait_line(
            lambda line: "recording.shredded" in line and told.recording in line,
            what="the shredding",
            within_s=40,
        )
        lag = datetime.now(UTC) - datetime.fromisoformat(told.expiry)
    story.fact(
        "shredded",
        f"{lag.total_seconds():.1f} s after its expiry: header overwritten and removed, then the body",
    )
    story.promise(
        "it was not shredded early", kept=lag.total_seconds() >= 0, measured=f"+{lag.total_seconds():.1f} s"
    )
    story.promise("header and body are gone", kept=not key.exists() and not body.exists())
    story.command("age -d -i demo-out/rig/identity.txt demo-out/kept-copy.age")
    gone = "the kept copy can no longer be opened, with the identity at hand"
    try:
        age_decrypt(copy.read_bytes(), daemon.identity)
    except ProcessError as refusal:
        story.output(str(refusal).partition('"')[0].rstrip(" :"), "red")
        story.promise(gone, kept=True)
    else:
        story.promise(gone, kept=False)
    left = [path for path in daemon.files() if _opens(path.read_bytes() + copy.read_bytes(), daemon.identity)]
    story.promise(
        "nor does any file that is left open it", kept=not left, measured=f"{len(daemon.files())} tried"
    )
    shown = daemon.cli("recordings", "show", told.recording).stdout
    story.command(f"recproxy recordings show {told.recording[:8]} -c demo-out/rig/recproxy.yaml")
    story.output(shown)
    shredded = "shredded" in shown or "shred_complete" in shown  # complete at once: no backup has its key
    story.promise(
        "a tombstone tells that it existed, and no number", kept=shredded and SHORT_NUMBER[3:] not in shown
    )


def _opens(sealed: bytes, identity: Path) -> bool:
    try:
        age_decrypt(sealed, identity)
    except ProcessError:
        return False
    return True


def _no_numbers_in_the_log(story: Story, daemon: Daemon) -> None:
    log = daemon.everything_said
    full = [number for number in (NUMBER, SHORT_NUMBER, "+31612345678") if number[3:] in log]
    story.promise(
        "no full telephone number in the log", kept=not full, measured=f"{len(log.splitlines())} lines"
    )


if __name__ == "__main__":
    raise SystemExit(main())
