"""``make scale-demo``: two nodes behind Kamailio, one is killed, nothing is lost, each erases its own.

Everything is real and on loopback: Kamailio and its dispatcher, PostgreSQL, an S3 server,
two recproxies, two telephones. Everything that is shown is measured; the demo fails if
a promise is broken. It takes three minutes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).parent)]

import pytest  # noqa: E402 - the test rig is put on the path above
from daemon import Purpose, Settings, eventually  # noqa: E402
from postgres import postgres  # noqa: E402
from processes import ProcessError  # noqa: E402
from rig import Rig  # noqa: E402
from s3_stage import s3_server  # noqa: E402
from scale_stage import NAMES, Fleet, fleet  # noqa: E402
from story import Story  # noqa: E402

CALLS = 8
RETENTION_S = 90
_PATIENCE_S = 240.0


def main() -> int:
    """Run the demo; returns the exit code."""
    story = Story()
    started = time.monotonic()
    story.title("recproxy, two nodes", "calls are shared, a node is lost, retention runs on both")
    try:
        with ExitStack() as stack:
            _play(story, stack)
    except pytest.skip.Exception as err:
        story.console.print(f"[bold red]the demo cannot run here:[/] {err}", markup=True)
        return 1
    except (ProcessError, AssertionError, TimeoutError) as err:
        story.console.print(f"\n[bold red]the demo stopped:[/] {err}", markup=True)
        story.promise("the demo runs to its end", kept=False)
    good = story.verdict()
    story.console.print(f"[dim]{time.monotonic() - started:.0f} s[/]")
    return 0 if good else 1


def _play(story: Story, stack: ExitStack) -> None:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recproxy-scale-")))
    settings = Settings(purposes={"training": Purpose(retention=f"PT{RETENTION_S}S")})
    story.chapter("1  Kamailio, PostgreSQL, an S3 server and two recproxies start on loopback")
    with story.console.status("keys, spoken announcements, start"):
        server = stack.enter_context(postgres())
        store = stack.enter_context(s3_server())
        made = stack.enter_context(fleet(directory, directory / "prompts", server, store, settings))
    for name, side in zip(NAMES, made.sides, strict=True):
        story.fact(name, f"sip:{side.daemon.sip[0]}:{side.daemon.sip[1]}, keys and chain of its own")
    story.fact("kamailio", f"sip:{made.kamailio.at[0]}:{made.kamailio.at[1]}, asks each by OPTIONS")
    story.fact("catalogue", "PostgreSQL on a Unix socket, for both")

    began = time.monotonic()
    recordings = _share(story, made)
    lost = _lose(story, made)
    recordings[NAMES[0]].append(lost)
    _move(story, made, recordings)
    _expire(story, made, recordings, began)
    for side in made.sides:
        side.daemon.cli("audit", "verify")
    story.promise("the audit chain of each node verifies, and agrees with the catalogue", kept=True)


def _share(story: Story, made: Fleet) -> dict[str, list[str]]:
    story.chapter(f"2  {CALLS} calls by way of Kamailio")
    recordings: dict[str, list[str]] = {name: [] for name in NAMES}
    for _ in range(CALLS):
        side, call = made.dial()
        recording = side.recorded(call)
        side.talk_on(call, 0.5)
        call.hang_up()
        side.sealed(call)
        name = _name(made, side)
        recordings[name].append(recording)
        story.fact(name, f"recorded {recording[:12]}…")
    shares = " and ".join(str(len(recordings[name])) for name in NAMES)
    story.promise("every call was announced and recorded", kept=sum(map(len, recordings.values())) == CALLS)
    story.promise("Kamailio shared them", kept=all(recordings.values()), measured=shares)
    return recordings


def _lose(story: Story, made: Fleet) -> str:
    one, two = made.sides
    story.chapter(f"3  kill -9 of {NAMES[0]} while it records")
    call = made.dial_at(one)
    recording = one.recorded(call)
    one.talk_on(call, 3.0)
    mark = made.kamailio.mark
    one.daemon.kill()
    killed = time.monotonic()
    side, other = made.dial()
    call.silence()
    story.promise(
        "the next call goes on by the other node at once",
        kept=side is two,
        measured=f"{time.monotonic() - killed:.1f} s after the kill",
    )
    other.hang_up()
    made.wait_down(one, mark)
    story.fact("kamailio", f"{NAMES[0]} is down, {time.monotonic() - killed:.1f} s after the kill")
    mark = made.kamailio.mark
    one.daemon.start()
    said = one.daemon.wait("recording.recovered", recording=recording)
    made.wait_up(one, mark)
    seconds = said["frames"] / 8000
    story.fact(NAMES[0], f"is back; {recording[:12]}… is completed with {seconds:.2f} s")
    story.promise(
        "the lost node completes what it was recording; a second at most is missing",
        kept=said["outcome"] == "sealed" and seconds > 2.0,
        measured=f"{seconds:.2f} of 3 s",
    )
    return recording


def _move(story: Story, made: Fleet, recordings: dict[str, list[str]]) -> None:
    story.chapter("4  bodies move to the bucket, keys stay")
    story.command("recproxy upload --once")
    left = 0
    for name, side in zip(NAMES, made.sides, strict=True):
        side.daemon.cli("upload", "--once")
        left += len(side.daemon.bodies())
        for recording in recordings[name]:
            side.daemon.cli("recordings", "verify", recording, "--identity", str(side.daemon.identity))
        story.fact(
            name, f"{len(recordings[name])} recordings read from the bucket: every chunk authenticates"
        )
    story.promise("no body is left on a node, and each verifies from the bucket", kept=left == 0)


def _expire(story: Story, made: Fleet, recordings: dict[str, list[str]], began: float) -> None:
    story.chapter(f"5  retention on both nodes at once, {RETENTION_S} s after each call")
    story.command("recproxy retention --once")
    wanted = {recording for those in recordings.values() for recording in those}
    with story.console.status("waiting for the expiry"):
        eventually(
            lambda: wanted <= _sweep(made.sides), within_s=_PATIENCE_S, what="all recordings are shredded"
        )
    keys = [key for side in made.sides for key in (side.daemon.data / "keys").glob("*")]
    held = {key.name[:32] for key in keys} & wanted
    story.promise(
        "each is shredded once, by the node that had its key; no key of them is left",
        kept=not held,
        measured=f"{time.monotonic() - began:.0f} s after the first call",
    )


def _sweep(sides: tuple[Rig, Rig]) -> set[str]:
    """Sweep on both at the same time; returns the ids of all tombstones."""
    threads = [threading.Thread(target=side.daemon.cli, args=("retention", "--once")) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = sides[0].daemon.cli(
        "recordings", "list", "--json", "--state", "shredded", "--state", "shred_complete"
    )
    return {stone["id"] for stone in json.loads(done.stdout)["gone"]}


def _name(made: Fleet, side: Rig) -> str:
    return NAMES[made.sides.index(side)]


if __name__ == "__main__":
    sys.exit(main())
