"""Facts to findings; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from recproxy.certificates import SOON
from recproxy.config import Config
from recproxy.config.settings import UDP_PORTS_PER_CALL
from recproxy.doctor.facts import (
    DirectoryFacts,
    EpochFacts,
    Facts,
    FileFacts,
    Finding,
    Grade,
    PromptFacts,
    SipFacts,
)

__all__ = ["check"]

SPARE_DESCRIPTORS: Final = 256  # as the daemon reckons
_LEGS: Final = 2
_READY_MADE_SLOTS: Final = 4  # PJSUA_MAX_CALLS of the wheels on the package index
_OTHERS: Final = 0o077
_OTHERS_WRITE: Final = 0o022
_CREDENTIAL: Final = 0o440  # of a key that systemd hands over: read by an ACL, the group is root's
_BLOCK_BYTES: Final = 4096  # SQLite's shared memory file is mapped: SIGBUS where a page has no block
_GIB: Final = 1 << 30
_SCARCE_BYTES: Final = 10 * _GIB
_TOO_LITTLE_BYTES: Final = _GIB // 2
_BYTES_A_SECOND: Final = 16_008  # stereo G.711, with the tags of its chunks
_SIP_MEND: Final = 'build it: "make dev", or tools/pjsua2/build.sh and install the wheel that it prints'


def check(facts: Facts, config: Config) -> list[Finding]:
    """Judge.

    Args:
        facts: What was probed.
        config: What is asked of the machine.

    Returns:
        One finding for each check, in the order in which things are mended.
    """
    max_calls = config.sip.max_calls
    return [
        _sip(facts.sip, max_calls),
        _engine(facts.engine_fault),
        _descriptors(facts.descriptors, max_calls),
        _ports(facts.local_ports, config),
        *_addresses(facts),
        *_certificates(facts),
        *_expiries(facts),
        _directory("data directory", facts.data, facts.euid, private=True),
        *_inside(facts),
        *_call_details(facts),
        *_blocks(facts.block_bytes),
        _directory("announcements", facts.announcements, facts.euid, private=False),
        _recipients(facts.recipients),
        _identities(facts),
        *map(_epochs, facts.epochs),
        _audit_key(facts.audit_key),
        _index_key(facts.index_key),
        *_programs(facts),
        *_policy(facts.policy_fault, facts.prompts),
        *map(_unannounced, facts.unannounced),
        *_server(
            "catalogue",
            facts.catalogue_fault,
            "storage.catalogue, its password file, or the server: see docs/scale.md",
        ),
        *_server(
            "bucket", facts.bucket_fault, "storage.bucket, its credentials, or the store: see docs/scale.md"
        ),
        *_api(facts.api_fault),
        _disk(facts.free_bytes),
        _clock(facts.clock_synchronised),
    ]


def _good(name: str, said: str) -> Finding:
    return Finding(name, Grade.GOOD, said)


def _warning(name: str, said: str, mend: str) -> Finding:
    return Finding(name, Grade.WARNING, said, mend)


def _bad(name: str, said: str, mend: str) -> Finding:
    return Finding(name, Grade.BAD, said, mend)


def _sip(facts: SipFacts, max_calls: int) -> Finding:
    name = "pjsua2"
    if not facts.version:
        return _bad(name, facts.fault or "not installed", _SIP_MEND)
    if facts.fault:
        return _bad(
            name,
            f"{facts.version}: {facts.fault}; a ready-made wheel holds {_READY_MADE_SLOTS} calls",
            _SIP_MEND,
        )
    said = f"{facts.version}, {facts.tls_library}, {facts.max_calls} call slots"
    if facts.max_calls <= _READY_MADE_SLOTS:
        return _bad(
            name, f"{said}: the leg after them fails with PJ_ETOOMANY, so it carries no trunk", _SIP_MEND
        )
    if facts.max_calls < max_calls * _LEGS:
        return _bad(
            name,
            f"{said}, but sip.max_calls is {max_calls}, which takes {max_calls * _LEGS}",
            f"lower sip.max_calls to {facts.max_calls // _LEGS}, or {_SIP_MEND}",
        )
    return _good(name, f"{said}, recproxy's module inside")


def _engine(fault: str) -> Finding:
    if fault:
        return _bad("RTP engine", fault, 'compile it: "make dev", or pip install recproxy again')
    return _good("RTP engine", "loads")


def _api(fault: str | None) -> Iterator[Finding]:
    if fault is None:
        return
    if fault:
        yield _bad("HTTP API", fault, 'see docs/api.md; tokens are made with "recproxy api token"')
    else:
        yield _good("HTTP API", "tokens and certificates can be used")


def _server(name: str, fault: str | None, mend: str) -> Iterator[Finding]:
    if fault is None:
        return
    yield _bad(name, fault, mend) if fault else _good(name, "answers, and lets us in")


def _descriptors(limit: int, max_calls: int) -> Finding:
    needed = max_calls * UDP_PORTS_PER_CALL + SPARE_DESCRIPTORS
    said = f"{limit} allowed, {needed} needed for {max_calls} calls"
    if limit < needed:
        return _bad(
            "open files",
            said,
            f"raise the limit (LimitNOFILE={needed} in the unit, ulimit -n here), or lower sip.max_calls",
        )
    return _good("open files", said)


def _ports(local: tuple[int, int], config: Config) -> Finding:
    ports, first, last = config.media.ports, *local
    # That the range holds max_calls was checked with the configuration.
    said = f"{ports}, for {ports.pairs * 2 // UDP_PORTS_PER_CALL} calls"
    if ports.first <= last and first <= ports.last:
        return _warning(
            "media ports",
            f"{said}: the kernel gives ports {first}-{last} to any program",
            "choose a range outside, or reserve it: sysctl net.ipv4.ip_local_reserved_ports",
        )
    return _good("media ports", said)


def _addresses(facts: Facts) -> Iterator[Finding]:
    for address, fault in facts.addresses.items():
        if fault:
            yield _bad(
                "address", f"{address}: {fault}", "give an address of this machine: sip.listen, media.address"
            )
        else:
            yield _good("address", f"{address} is this machine's")


def _certificates(facts: Facts) -> Iterator[Finding]:
    for place, fault in facts.tls_faults.items():
        if fault:
            yield _bad(
                "certificate", fault, "mend it before the next start or reload: the daemon refuses it as well"
            )
        else:
            yield _good("certificate", f"{place}: certificate, key and authorities can be used")


def _expiries(facts: Facts) -> Iterator[Finding]:
    for place, days in facts.certificate_days.items():
        name, mend = "certificate", "renew it, and reload; that of the API needs a restart"
        if days < 0:
            yield _bad(name, f"{place}: expired {-days} days ago", mend)
        elif days < SOON.days:
            yield _warning(name, f"{place}: expires in {days} days", mend)
        else:
            yield _good(name, f"{place}: expires in {days} days")


def _inside(facts: Facts) -> Iterator[Finding]:
    """Those that are not as the daemon made them; all in one line if they are."""
    foreign = [one for one in facts.inside if one.owner != facts.euid or not one.writable]
    yield from (_directory("data directory", one, facts.euid, private=False) for one in foreign)
    ajar = [one for one in facts.inside if one not in foreign and one.mode & _OTHERS]
    for one in ajar:  # the directory above keeps others out, if nobody moves this one
        said = f"{one.path}: mode {one.mode:04o} lets others in"
        yield _warning("data directory", said, f"chmod 0700 {one.path}")
    if facts.inside and not foreign and not ajar:
        names = ", ".join(one.path.name for one in facts.inside)
        yield _good("data directory", f"{names}: for nobody else")


def _call_details(facts: Facts) -> Iterator[Finding]:
    if facts.cdr is not None:
        yield _directory("call detail records", facts.cdr, facts.euid, private=True)


def _blocks(size: int | None) -> Iterator[Finding]:
    if size is None:
        return
    name, said = "file system", f"blocks of {size:,} bytes"
    if size < _BLOCK_BYTES:
        yield _warning(
            name,
            f"{said}: with less than {_BLOCK_BYTES:,} a full disk ends the process instead of being told",
            "put the data directory on one that was made with mkfs.ext4 -b 4096, or on XFS",
        )
    else:
        yield _good(name, said)


def _directory(name: str, facts: DirectoryFacts, euid: int, *, private: bool) -> Finding:
    if not facts.present:
        if facts.writable:
            return _good(name, f"{facts.path}: will be made")
        return _bad(
            name,
            f"{facts.path}: missing, and cannot be made",
            f"make it: install -d -m 0700 -o recproxy {facts.path}",
        )
    if not facts.is_directory:
        return _bad(name, f"{facts.path}: is not a directory", "move it away")
    if facts.owner != euid:
        return _bad(
            name,
            f"{facts.path}: belongs to uid {facts.owner}, this runs as uid {euid}",
            "run the doctor as the user that recproxy runs as, or chown the directory",
        )
    if not facts.writable:
        return _bad(name, f"{facts.path}: cannot be written", f"chmod 0700 {facts.path}")
    if private and facts.mode & _OTHERS:
        return _bad(name, f"{facts.path}: mode {facts.mode:04o} lets others in", f"chmod 0700 {facts.path}")
    return _good(name, f"{facts.path}: writable, mode {facts.mode:04o}")


def _recipients(facts: FileFacts) -> Finding:
    name = "recipients"
    if facts.fault:
        return _bad(name, facts.fault, 'make keys: "recproxy keys generate --out DIR"')
    if facts.mode & _OTHERS_WRITE:
        return _bad(
            name,
            f"{facts.path}: mode {facts.mode:04o}: others can add themselves to it",
            f"chmod 0644 {facts.path}",
        )
    return _good(name, f"{facts.path}: {facts.shown}")


def _identities(facts: Facts) -> Finding:
    name = "identity"
    if facts.identities:
        return _warning(
            name,
            f"{', '.join(str(path) for path in facts.identities)}: a private key lies on the recorder",
            "move it to another machine: with it, root here opens every recording",
        )
    return _good(name, f"no private key beside {facts.recipients.path.name}")


def _epochs(facts: EpochFacts) -> Finding:
    name = f"keys of {facts.key_group}"
    mend = f'"recproxy keys epochs make {facts.key_group}" elsewhere, then put the .recipient files here'
    if facts.fault:
        return _bad(name, facts.fault, mend)
    if facts.misplaced:
        return _bad(
            name,
            f"the private half of {', '.join(facts.misplaced)} lies on the recorder",
            "move it to another machine: with it, root here opens the recordings of that epoch",
        )
    if facts.days < 0:
        return _bad(name, "none for now: its purposes are not recorded", mend)
    said = f"enough for {facts.days} days"
    return _warning(name, said, mend) if facts.days < facts.enough else _good(name, said)


def _audit_key(facts: FileFacts) -> Finding:
    name = "audit key"
    if facts.fault:
        return _bad(name, facts.fault, 'make keys: "recproxy keys generate --out DIR"')
    if _open_to_others(facts):
        return _bad(name, f"{facts.path}: mode {facts.mode:04o} lets others sign", f"chmod 0600 {facts.path}")
    return _good(name, f"{facts.path}: {facts.shown}")


def _index_key(facts: FileFacts | None) -> Finding:
    name = "index key"
    if facts is None:
        return _warning(
            name,
            "none: a person's recordings are found by date, time and line only",
            'make one, "recproxy keys index --out DIR", and name it in storage.index_key',
        )
    if facts.fault:
        return _bad(name, facts.fault, 'make one: "recproxy keys index --out DIR"')
    if _open_to_others(facts):
        return _bad(
            name,
            f"{facts.path}: mode {facts.mode:04o} lets others look numbers up",
            f"chmod 0600 {facts.path}",
        )
    return _good(name, f"{facts.path}: {facts.shown}")


def _open_to_others(key: FileFacts) -> bool:
    return key.mode & _OTHERS != 0 and key.mode != _CREDENTIAL


def _programs(facts: Facts) -> Iterator[Finding]:
    uses = {
        "espeak-ng": "speaks announcements that are given as text",
        "ffmpeg": "reads announcements that are given as MP3",
    }
    for program, present in facts.programs.items():
        use = uses.get(program, "")
        if present:
            yield _good(program, "installed")
        else:
            yield _warning(program, f"not installed; it {use}", f"apt install {program}")


def _policy(fault: str, prompts: Iterable[PromptFacts]) -> Iterator[Finding]:
    if fault:
        yield _bad("policy", fault, "mend the lines named; recproxy policy check")
        return
    yield _good("policy", "sound")
    for prompt in prompts:
        name = f"announcement {prompt.name} ({prompt.language})"
        if prompt.fault:
            yield _bad(name, prompt.fault, "until it plays, no call of its purposes is recorded")
        else:
            yield _good(name, f"{prompt.seconds:.1f} s")


def _unannounced(trunk: str) -> Finding:
    return _warning(
        f"trunk {trunk}",
        "no purpose says who announces in its forks, so each is refused with 403",
        "name it in announce.fork.trunks of the policy; see docs/siprec.md",
    )


def _disk(free: int | None) -> Finding:
    name = "disk"
    if free is None:
        return _warning(name, "the space left is not known", "see the data directory")
    hours = free / _BYTES_A_SECOND / 3600
    said = f"{free / _GIB:.1f} GiB left, {hours:,.0f} hours of one call"
    if free < _TOO_LITTLE_BYTES:
        return _bad(name, said, "free some, or recordings will be lost")
    if free < _SCARCE_BYTES:
        return _warning(name, said, "free some, or give the data directory a larger disk")
    return _good(name, said)


def _clock(synchronised: bool | None) -> Finding:
    name = "clock"
    mend = "run chrony or systemd-timesyncd: expiries are instants"
    if synchronised is None:
        return _warning(name, "whether it is synchronised is not known", mend)
    if not synchronised:
        return _warning(name, "not synchronised", mend)
    return _good(name, "synchronised")
