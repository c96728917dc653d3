"""Wrapping a recording anew: one header or the other is in force, whatever breaks; the old one goes."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from faulty_files import Fault
from simulated_files import Loss
from storage_machine import (
    AUDIO,
    CHUNK,
    IDENTITY,
    NOW,
    PARTIES,
    SIGNING_KEY,
    Machine,
    audio,
    events,
    legal_hold,
    seal_facts,
    tags,
)
from test_storage_ladder import climb

from storage import (
    CATALOGUE_NAME,
    AuditLog,
    Catalogue,
    KeyUnavailable,
    OpenRequest,
    OsFiles,
    Reader,
    RecordingNotFound,
    RecordingStore,
    Rewrapper,
    Shredder,
    State,
    StorageError,
    sqlite_url,
    verify_chain,
)
from storage.age import X25519Identity
from storage.container import decode_header
from storage.places import header_path

EPOCH = X25519Identity.generate(random.Random(3).randbytes)
ONE = tags(1).recording
PATH = header_path(ONE, "training")


def sealed() -> Machine:
    """One recording, wrapped to the key pair of a day."""
    machine = Machine()
    request = OpenRequest(
        tags(1),
        PARTIES,
        AUDIO,
        recipients={"training": (EPOCH.recipient,)},
        epochs={"training": ("service", "2026-11-24")},
    )
    (writer,) = machine.start().open_together([request], NOW)
    assert not isinstance(writer, StorageError)
    writer.write(audio(1, 100))
    writer.seal(seal_facts())
    machine.audit.flush()
    return machine


def rewrap(machine: Machine, identity: X25519Identity = EPOCH) -> int:
    rewrapper = Rewrapper(machine.files, machine.catalogue, machine.audit, [IDENTITY.recipient])
    return len(rewrapper.rewrap(ONE, [identity]))


def opens(machine: Machine, identity: X25519Identity) -> bool:
    try:
        wav = b"".join(Reader(machine.files, machine.catalogue).wav(ONE, [identity]))
    except StorageError:
        return False
    return wav[decode_header(wav[:CHUNK]).data_offset :] == audio(1, 100)


def test_a_recording_is_wrapped_to_its_epoch_alone() -> None:
    machine = sealed()
    assert opens(machine, EPOCH)
    assert not opens(machine, IDENTITY)
    (standing,) = machine.catalogue.wraps.standing("service", "2026-11-24")
    assert (standing.recording, standing.expiry, standing.held) == (ONE, tags(1).expiry, False)
    machine.catalogue.holds.add(legal_hold(ONE))
    assert machine.catalogue.wraps.standing("service", "2026-11-24")[0].held
    assert [(use.epoch, use.recordings) for use in machine.catalogue.wraps.in_use()] == [("2026-11-24", 1)]


def test_rewrapped_it_needs_the_epoch_no_more() -> None:
    machine = sealed()
    before = machine.disk.contents()[PATH]
    assert rewrap(machine) == 1
    assert opens(machine, IDENTITY)
    assert not opens(machine, EPOCH)
    assert machine.catalogue.wraps.standing("service", "2026-11-24") == ()
    assert machine.catalogue.wraps.of(ONE)["training"].epoch == ""
    assert before not in machine.disk.contents().values()
    assert rewrap(machine) == 0
    assert events(machine.files).count("key.rewrapped") == 1


def test_with_another_key_nothing_changes() -> None:
    machine = sealed()
    before = dict(machine.disk.contents())[PATH]
    with pytest.raises(KeyUnavailable, match="for training"):
        rewrap(machine, IDENTITY)
    assert machine.disk.contents()[PATH] == before
    assert opens(machine, EPOCH)


def test_what_is_being_shredded_is_not_wrapped_anew() -> None:
    machine = sealed()
    machine.catalogue.claim_for_shredding(ONE, "erase")
    with pytest.raises(RecordingNotFound, match="is shredding"):
        rewrap(machine)


@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.EIO, Fault.ENOSPC])
@pytest.mark.parametrize("loss", [Loss.ALL_KEPT, Loss.ALL_LOST])
def test_wherever_it_breaks_the_recording_opens_and_a_second_try_finishes(fault: Fault, loss: Loss) -> None:
    rungs = 0
    for broken in climb(lambda machine: (rewrap(machine), None)[1], fault, sticky=False, before=sealed):
        machine = broken.reboot(loss)
        machine.check_disk()
        assert opens(machine, EPOCH) or opens(machine, IDENTITY), "neither key opens it"
        if not machine.catalogue.wraps.standing("service", "2026-11-24"):
            assert opens(machine, IDENTITY), "the epoch may be destroyed, and only its key opens it"
        rewrap(machine)
        assert opens(machine, IDENTITY)
        assert not opens(machine, EPOCH)
        assert [path for path in machine.disk.contents() if path.startswith("keys/")] == [PATH]
        machine.audit.flush()
        verify_chain(machine.files, SIGNING_KEY.public_key())
        rungs += 1
    assert rungs > 10


def test_a_shred_after_a_rewrap_that_was_cut_short_leaves_no_header() -> None:
    for broken in climb(lambda machine: (rewrap(machine), None)[1], Fault.CRASH, sticky=True, before=sealed):
        machine = broken.reboot(Loss.ALL_KEPT)
        Shredder(machine.files, machine.catalogue, machine.audit).shred(ONE, "erase", NOW)
        assert not [path for path in machine.disk.contents() if path.startswith("keys/")]
        assert machine.catalogue.wraps.in_use() == ()
        stone = machine.catalogue.tombstone(ONE)
        assert stone is not None
        assert stone.key_group == "service"


def test_the_end_of_an_epoch_completes_what_was_shredded_of_it() -> None:
    machine = sealed()
    Shredder(machine.files, machine.catalogue, machine.audit).shred(ONE, "erase", NOW)
    stone = machine.catalogue.tombstone(ONE)
    assert stone is not None
    assert stone.key_id.startswith("2026-11-24:")
    later = NOW + timedelta(days=2)
    assert machine.catalogue.stones.complete_epoch("service", "2026-11-2", later) == 0
    assert machine.catalogue.stones.complete_epoch("service", "2026-11-24", later) == 1
    stone = machine.catalogue.tombstone(ONE)
    assert stone is not None
    assert (stone.state, stone.out_of_backups) == (State.SHRED_COMPLETE, later)


@pytest.mark.interop
@pytest.mark.parametrize("anew", [False, True])
def test_the_age_program_opens_it_with_the_key_of_its_epoch_or_the_long_lived_one(
    tmp_path: Path, anew: bool
) -> None:
    machine = sealed()
    if anew:
        rewrap(machine)
    key = tmp_path / "key"
    key.write_text((IDENTITY if anew else EPOCH).secret_text() + "\n")
    done = subprocess.run(
        ["age", "-d", "-i", str(key)],
        input=machine.disk.read(PATH) + machine.disk.read(f"{machine.catalogue.get(ONE).body}.age"),
        capture_output=True,
        check=True,
    )
    assert done.stdout.endswith(audio(1, 100))


ANEW = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from storage_machine import *
from test_storage_rewrapping import EPOCH
from storage import *
files = OsFiles(Path(sys.argv[1]))
catalogue = Catalogue.open(files, sqlite_url(str(files.root / CATALOGUE_NAME)))
log = AuditLog(files, SIGNING_KEY, "node-1", lambda: NOW)
rewrapper = Rewrapper(files, catalogue, log, [IDENTITY.recipient])
for number in range(int(sys.argv[3])):
    print(number, flush=True)
    rewrapper.rewrap(tags(number).recording, [EPOCH])
log.close()
catalogue.close()
print("done", flush=True)
"""
MANY = 60


@pytest.mark.faults
def test_a_process_that_is_killed_in_the_middle_leaves_every_recording_readable(tmp_path: Path) -> None:
    files = OsFiles(tmp_path / "data")
    files.prepare()
    catalogue = Catalogue.open(files, sqlite_url(str(files.root / CATALOGUE_NAME)))
    store = RecordingStore(
        files, catalogue, AuditLog(files, SIGNING_KEY, "node-1", lambda: NOW), [IDENTITY.recipient]
    )
    for number in range(MANY):
        request = OpenRequest(
            tags(number),
            PARTIES,
            AUDIO,
            recipients={"training": (EPOCH.recipient,)},
            epochs={"training": ("service", "2026-11-24")},
        )
        (writer,) = store.open_together([request], NOW)
        assert not isinstance(writer, StorageError)
        writer.write(audio(number, 100))
        writer.seal(seal_facts())
    store.close()
    chance, reader = random.Random(5), Reader(files, catalogue)
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", ANEW, str(files.root), str(Path(__file__).parent), str(MANY)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        last = chance.randrange(MANY)
        for line in process.stdout:
            if line == f"{last}\n":
                process.kill()  # wherever it is by now
                break
        process.wait()
        process.stdout.close()
        for number in range(MANY):
            verdict = reader.verify(tags(number).recording, [EPOCH, IDENTITY])
            assert verdict.sound, verdict.reason
    done = subprocess.run(
        [sys.executable, "-c", ANEW, str(files.root), str(Path(__file__).parent), str(MANY)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("done\n")
    assert catalogue.wraps.standing("service", "2026-11-24") == ()
    assert all(reader.verify(tags(number).recording, [IDENTITY]).sound for number in range(MANY))
    assert len(list((files.root / "keys").iterdir())) == MANY
    verify_chain(files, SIGNING_KEY.public_key())
    catalogue.close()
