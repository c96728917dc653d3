# ruff: noqa: E501 - messages stand here as they are printed
from __future__ import annotations

import ipaddress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recproxy import config
from recproxy.config import Config, Latch, PortRange, SipTarget, Transport
from recproxy.config.storing import NodeName
from recproxy.errors import ConfigError
from recproxy.eventlog import LogFormat
from recproxy.logevents import LogLevel
from storage.tags import Direction

ROOT = Path(__file__).parent.parent
LEAST = """\
version: 1
policy: policy.yaml
sip:
  listen:
    - {transport: udp, address: 192.0.2.1}
trunks:
  provider:
    peers: [203.0.113.0/28]
    targets: sip:203.0.113.1
    direction: inbound
    forward_to: pbx
  pbx:
    peers: 192.0.2.10
    targets: sip:192.0.2.10:5080;transport=udp
    direction: outbound
    forward_to: provider
media:
  address: 192.0.2.1
storage:
  directory: /var/lib/recproxy
  recipients: recipients.txt
  audit_key: audit.key
announcer:
  directory: announcements
"""


def parse(text: str) -> Config:
    return config.parse(text, "recproxy.yaml", Path("/etc/recproxy"))


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert caught.value.exit_code == 78
    return caught.value.problems


def changed(old: str, new: str) -> str:
    assert LEAST.count(old) == 1, old
    return LEAST.replace(old, new)


# What is right.


def test_targets_may_be_one_several_or_written_out() -> None:
    several = (
        "\n      - sip:[2001:DB8::1]\n      - {uri: sip:SBC7.carrier.example;transport=udp, priority: 5}\n"
    )
    read = parse(changed(" sip:203.0.113.1\n", several)).trunks
    first, second = next(iter(read.values())).targets
    assert (str(first), first.priority, first.weight) == ("sip:[2001:db8::1]:5060;transport=udp", 10, 1)
    assert (str(second), second.priority) == ("sip:sbc7.carrier.example;transport=udp", 5)


def test_limits_registration_and_number_rules_of_a_trunk() -> None:
    more = """sip:203.0.113.1
    keepalive: PT30S
    max_calls: 30
    max_rate: 0.5
    max_burst: 3
    register:
      registrar: sip:203.0.113.9
      user: "31305550100"
      password_file: provider.password
    numbers:
      received:
        - {prefix: "0", replace: "+31", digits: 10}
        - {prefix: "", replace: "+3130555", digits: 4, party: caller}
"""
    provider = next(iter(parse(changed("sip:203.0.113.1\n", more)).trunks.values()))
    assert (provider.keepalive, provider.max_calls) == (timedelta(seconds=30), 30)
    assert (provider.max_rate, provider.max_burst) == (0.5, 3)
    assert provider.register == config.RegisterConfig(
        registrar=SipTarget("203.0.113.9", 5060, Transport.UDP),
        user="31305550100",
        password_file=Path("/etc/recproxy/provider.password"),
    )
    assert provider.numbers.received == (
        config.NumberRule(prefix="0", replace="+31", digits=10),
        config.NumberRule(prefix="", replace="+3130555", digits=4, party=config.NumberParty.CALLER),
    )
    assert provider.numbers.sent == ()


def test_the_least_that_is_needed_and_the_defaults() -> None:
    read = parse(LEAST)
    assert (read.version, read.node, read.policy) == (1, "recproxy", Path("/etc/recproxy/policy.yaml"))
    (listen,) = read.sip.listen
    assert (listen.transport, listen.address, listen.port) == (Transport.UDP, "192.0.2.1", 5060)
    assert (listen.advertise, read.sip.max_calls, read.sip.user_agent) == (None, 1000, "recproxy")
    assert read.sip.drain == timedelta(seconds=30)
    provider, pbx = read.trunks.values()
    assert list(read.trunks) == ["provider", "pbx"]
    assert provider.peers == (ipaddress.ip_network("203.0.113.0/28"),)
    assert [target.uri for target in provider.targets] == [SipTarget("203.0.113.1", 5060, Transport.UDP)]
    assert (provider.direction, provider.forward_to) == (Direction.INBOUND, "pbx")
    assert provider.latch is Latch.ADDRESS
    assert pbx.peers == (ipaddress.ip_network("192.0.2.10/32"),)
    assert str(pbx.targets[0]) == "sip:192.0.2.10:5080;transport=udp"
    assert (read.media.bound(4), read.media.announced(4), read.media.ports) == (
        "192.0.2.1",
        "192.0.2.1",
        PortRange(20000, 29999),
    )
    assert (read.media.threads, read.media.guard_ms, read.media.dscp) == (1, 20, 46)
    assert read.storage.directory == Path("/var/lib/recproxy")
    assert read.storage.recipients == Path("/etc/recproxy/recipients.txt")
    assert read.storage.catalogue_url == "sqlite:////var/lib/recproxy/catalogue.sqlite"
    assert read.storage.sync_interval_ms == 400
    assert read.retention.interval == timedelta(minutes=10)
    assert (read.log.level, read.log.format) == (LogLevel.INFO, LogFormat.JSON)


def test_the_type_of_a_field_decides_not_the_spelling_of_a_value() -> None:
    read = parse(
        changed("policy: policy.yaml", "policy: 0123\nnode: 'no'").replace(
            "[203.0.113.0/28]", "['203.0.113.0/28']"
        )
    )
    assert (read.policy, read.node) == (Path("/etc/recproxy/0123"), "no")
    assert parse(changed("sip:\n", "sip:\n  max_calls: '12'\n")).sip.max_calls == 12


def test_a_key_whose_keys_are_all_commented_out_stands_for_its_defaults() -> None:
    assert parse(LEAST + "retention:\n  # interval: PT10M\nlog:\n") == parse(LEAST)


@pytest.mark.parametrize("absent", ["", "~", "null"])
def test_an_optional_value_may_be_empty(absent: str) -> None:
    written = changed("udp, address: 192.0.2.1", f"udp, address: 192.0.2.1, advertise: {absent}")
    assert parse(written).sip.listen[0].advertise is None


def test_the_advertised_address_is_announced() -> None:
    read = parse(
        changed("  address: 192.0.2.1\nstorage", "  address: 0.0.0.0\n  advertise: 198.51.100.1\nstorage")
    )
    assert (read.media.announced(4), read.media.announced(6)) == ("198.51.100.1", None)


def test_media_of_both_ip_versions_by_the_peers_of_a_trunk() -> None:
    read = parse(
        changed("  address: 192.0.2.1\nstorage", "  address: ['2001:DB8::1', 192.0.2.1]\nstorage").replace(
            "peers: 192.0.2.10", "peers: ['2001:db8::10', '2001:db8:1::/64']"
        )
    )
    assert [read.media.bound(version) for version in (4, 6)] == ["192.0.2.1", "2001:db8::1"]
    assert [trunk.ip_version for trunk in read.trunks.values()] == [4, 6]


def test_a_socket_for_tls() -> None:
    tls = "transport: tls, address: 192.0.2.1, port: 5061, tls: {certificate: a.crt, key: /k/a.key}"
    read = parse(
        changed("{transport: udp, address: 192.0.2.1}", f"{{{tls}}}")
        .replace("203.0.113.1", "a.example;transport=tls")
        .replace("192.0.2.10:5080;transport=udp", "192.0.2.10:5080;transport=tls")
    )
    (listen,) = read.sip.listen
    assert listen.tls is not None
    assert (listen.tls.certificate, listen.tls.key) == (Path("/etc/recproxy/a.crt"), Path("/k/a.key"))
    assert (listen.tls.verify, listen.tls.verify_client) == (True, False)
    assert list(read.trunks.values())[1].targets[0].uri.transport is Transport.TLS


def test_authentication_of_a_trunk() -> None:
    read = parse(
        changed("peers: 192.0.2.10", "peers: 192.0.2.10\n    authenticate: {realm: a.example, users_file: u}")
    )
    asked = list(read.trunks.values())[1].authenticate
    assert asked is not None
    assert (asked.realm, asked.users_file) == ("a.example", Path("/etc/recproxy/u"))


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("P90D", timedelta(days=90)),
        ("P2W", timedelta(weeks=2)),
        ("PT10S", timedelta(seconds=10)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("PT36H", timedelta(hours=36)),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    assert config.parse_duration(text) == duration


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("P1Y", "counts months or years, whose length varies; write days, P365D"),
        ("P3M", "counts months or years, whose length varies; write days, P365D"),
        ("P1Y2DT1H", "counts months or years, whose length varies; write days, P365D"),
        ("", "is not an ISO 8601 duration such as P90D or PT10M"),
        ("P", "is not an ISO 8601 duration such as P90D or PT10M"),
        ("PT", "is not an ISO 8601 duration such as P90D or PT10M"),
        ("P1DT", "is not an ISO 8601 duration such as P90D or PT10M"),
        ("90", "is not an ISO 8601 duration such as P90D or PT10M"),
        ("90 days", "is not an ISO 8601 duration such as P90D or PT10M"),
        ("-P1D", "is not an ISO 8601 duration such as P90D or PT10M"),
        ("P1.5D", "is not an ISO 8601 duration such as P90D or PT10M"),
        ("P1W2D", "is not an ISO 8601 duration such as P90D or PT10M"),
        ("P\u0661D", "is not an ISO 8601 duration such as P90D or PT10M"),
    ],
)
def test_other_durations_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        config.parse_duration(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("first", "last", "pairs"),
    [(20000, 20001, 1), (20000, 20002, 1), (20001, 20003, 1), (20001, 20002, 0), (20000, 29999, 5000)],
)
def test_pairs_of_ports(first: int, last: int, pairs: int) -> None:
    ports = PortRange(first, last)
    assert ports.pairs == pairs
    assert first in ports
    assert last in ports
    assert last + 1 not in ports


# What is wrong: file, line, key, value and mend.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "recproxy.yaml: empty; every key of it is in the example beside the manual"),
        ("# nothing\n", "recproxy.yaml: empty; every key of it is in the example beside the manual"),
        ("- a\n", "recproxy.yaml:1: not a mapping of keys to values"),
        ("a: [1\nb: 2\n", "recproxy.yaml:2: not YAML: expected ',' or ']', but got ':'"),
        ("a:\n\tb: 1\n", "recproxy.yaml:2: not YAML: found character '\\t' that cannot start any token"),
        (
            "a: \x01\n",
            "recproxy.yaml:1: the character '\\x01' may not be in YAML",
        ),
        ("a: 'b\n", "recproxy.yaml:2: not YAML: found unexpected end of stream"),
        ("a: &x 1\nb: *x\n", "recproxy.yaml:1: an anchor or alias; write the value out"),
        (
            "a: !!python/name:os.system x\n",
            "recproxy.yaml:1: a tag, 'tag:yaml.org,2002:python/name:os.system'; leave it out",
        ),
        ("a: 1\n---\nb: 2\n", "recproxy.yaml:2: a second document; a file holds one"),
        ("[" * 20, "recproxy.yaml:1: nested more than 16 deep"),
        ("version: 2\nwhatever: 1\n", "recproxy.yaml:1: version: '2'; this recproxy reads version: 1"),
        ("? [a]\n: 1\n" + LEAST, "recproxy.yaml:1: file: a key that is not a word"),
        (
            changed("version: 1\n", "version: 1\nversion: 1\n"),
            "recproxy.yaml:2: version: a second time; the first is in line 1",
        ),
        (changed("policy: policy.yaml\n", ""), "recproxy.yaml:1: policy: missing"),
        (
            changed("  address: 192.0.2.1\nstorage", "  port: 1\nstorage").replace(
                "  port: 1", "  mount: 192.0.2.1"
            ),
            "recproxy.yaml:17: media.address: missing",
        ),
        (changed("policy: policy.yaml", "policy: [a, b]"), "recproxy.yaml:2: policy: not a single value"),
        (changed("policy: policy.yaml", "policy:"), "recproxy.yaml:2: policy: empty"),
        (
            changed("sip:\n", "sip:\n  max_call: 5\n"),
            "recproxy.yaml:4: sip.max_call: unknown key; did you mean max_calls?",
        ),
        (
            LEAST + "colour: red\n",
            "recproxy.yaml:25: colour: unknown key; known here: announcer, api, audit, cdr, log, media, node, policy, retention, sip, storage, subjects, trunks, version",
        ),
        (
            changed("version: 1\n", "version: 1\nnode: two words\n"),
            "recproxy.yaml:2: node: 'two words' is not a name of up to 63 letters, digits, dots, underscores and hyphens",
        ),
        (
            changed("sip:\n", "sip:\n  max_calls: many\n"),
            "recproxy.yaml:4: sip.max_calls: 'many' is not a whole number of calls from 1 to 4096",
        ),
        (
            changed("sip:\n", "sip:\n  max_calls: 0\n"),
            "recproxy.yaml:4: sip.max_calls: '0' is not a whole number of calls from 1 to 4096",
        ),
        (
            changed("sip:\n", 'sip:\n  user_agent: "a\\r\\nVia: x"\n'),
            "recproxy.yaml:4: sip.user_agent: 'a\\r\\nVia: x' is not a product name of up to 64 letters, digits, spaces and ./()_-",
        ),
        (
            changed("sip:\n", "sip:\n  drain: 30\n"),
            "recproxy.yaml:4: sip.drain: '30' is not an ISO 8601 duration such as P90D or PT10M",
        ),
        (
            changed("transport: udp, address: 192.0.2.1", "transport: ws, address: 192.0.2.1"),
            "recproxy.yaml:5: sip.listen[0].transport: 'ws' is not one of udp, tcp, tls",
        ),
        (
            changed("udp, address: 192.0.2.1", "udp, address: eth0"),
            "recproxy.yaml:5: sip.listen[0].address: 'eth0' is not a numeric IPv4 or IPv6 address",
        ),
        (
            changed("udp, address: 192.0.2.1", "udp, address: 224.0.0.1"),
            "recproxy.yaml:5: sip.listen[0].address: '224.0.0.1' is not a unicast address without zone",
        ),
        (
            changed("udp, address: 192.0.2.1", "udp, address: 192.0.2.1, port: 65536"),
            "recproxy.yaml:5: sip.listen[0].port: '65536' is not a port from 1 to 65535",
        ),
        (
            changed("udp, address: 192.0.2.1", "udp, address: 0.0.0.0"),
            "recproxy.yaml:5: sip.listen[0]: 0.0.0.0 cannot be told to a peer; set its advertise",
        ),
        (
            changed("udp, address: 192.0.2.1", "udp, address: 192.0.2.1, advertise: '2001:db8::1'"),
            "recproxy.yaml:5: sip.listen[0].advertise: 2001:db8::1 is not of the IP version of 192.0.2.1",
        ),
        (
            changed("- {transport: udp, ", "- {transport: tls, address: 192.0.2.1}\n    - {transport: udp, "),
            "recproxy.yaml:5: sip.listen[0].tls: needs a certificate and its key",
        ),
        (
            changed("udp, address: 192.0.2.1", "udp, address: 192.0.2.1, tls: {certificate: a, key: b}"),
            "recproxy.yaml:5: sip.listen[0].tls: is for transport tls only",
        ),
        (
            changed("peers: 192.0.2.10", "peers: ['2001:db8::10']"),
            "recproxy.yaml:18: media.address: no IPv6 address, which the peers of trunk pbx need; add one",
        ),
        (
            changed("peers: 192.0.2.10", "peers: 192.0.2.10\n    media_advertise: '2001:db8::1'"),
            "recproxy.yaml:14: trunks.pbx.media_advertise: 2001:db8::1 is not of the trunk's IP version 4",
        ),
        (
            changed("  address: 192.0.2.1\nstorage", "  address: [192.0.2.1, 192.0.2.2]\nstorage"),
            "recproxy.yaml:18: media.address: names two addresses of one IP version; one is used",
        ),
        (
            changed("  address: 192.0.2.1\nstorage", "  address: []\nstorage"),
            "recproxy.yaml:18: media.address: empty; give an address of this machine",
        ),
        (
            changed(
                "peers: 192.0.2.10", "peers: 192.0.2.10\n    authenticate: {realm: 'a\"b', users_file: u}"
            ),
            "recproxy.yaml:14: trunks.pbx.authenticate.realm: 'a\"b' is not up to 63 letters, digits, spaces and ._-, such as a domain name",
        ),
        (
            changed("  listen:\n    - {transport: udp, address: 192.0.2.1}", "  listen: []"),
            "recproxy.yaml:4: sip.listen: empty; give at least one socket",
        ),
        (
            changed("sip:\n  listen:\n", "sip:\n  listen:\n    - {transport: udp, address: 192.0.2.1}\n"),
            "recproxy.yaml:6: sip.listen[1]: the same socket a second time; take it out",
        ),
        (
            changed("[203.0.113.0/28]", "[203.0.113.1/28]"),
            "recproxy.yaml:8: trunks.provider.peers[0]: '203.0.113.1/28' is not an address or a network such as 192.0.2.10 or 192.0.2.0/24",
        ),
        (
            changed("[203.0.113.0/28]", "[0.0.0.0/0]"),
            "recproxy.yaml:8: trunks.provider.peers[0]: '0.0.0.0/0' takes calls from everybody; name the networks of your peers",
        ),
        (
            changed("[203.0.113.0/28]", "[]"),
            "recproxy.yaml:8: trunks.provider.peers: empty; name the networks of the peers",
        ),
        (changed("[203.0.113.0/28]", "{a: b}"), "recproxy.yaml:8: trunks.provider.peers: not a list"),
        (
            changed("[203.0.113.0/28]", "[192.0.2.0/24]"),
            "recproxy.yaml:13: trunks.pbx.peers[0]: 192.0.2.10/32 overlaps 192.0.2.0/24 of trunk provider",
        ),
        (
            changed("sip:203.0.113.1\n", "203.0.113.1\n"),
            "recproxy.yaml:9: trunks.provider.targets: '203.0.113.1' is not a target such as sip:192.0.2.10:5060;transport=udp (or tcp, tls)",
        ),
        (
            changed("sip:203.0.113.1\n", "sip:203.0.113.1:99999\n"),
            "recproxy.yaml:9: trunks.provider.targets: 'sip:203.0.113.1:99999' is not a target such as sip:192.0.2.10:5060;transport=udp (or tcp, tls)",
        ),
        (
            changed("sip:203.0.113.1\n", "sip:203.0.113.1;transport=tcp\n"),
            "recproxy.yaml:9: trunks.provider.targets[0]: nothing listens on tcp; add it to sip.listen",
        ),
        (
            changed("sip:203.0.113.1\n", "sip:192.0.2.1\n"),
            "recproxy.yaml:9: trunks.provider.targets[0]: sip:192.0.2.1:5060;transport=udp is our own socket: recproxy would call itself",
        ),
        (
            changed("sip:203.0.113.1\n", "sip:203.0.113\n"),
            "recproxy.yaml:9: trunks.provider.targets: 'sip:203.0.113' is not a target such as sip:192.0.2.10:5060;transport=udp (or tcp, tls)",
        ),
        (
            changed("sip:203.0.113.1\n", "[sip:203.0.113.1, {uri: sip:203.0.113.1:5060, weight: 2}]\n"),
            "recproxy.yaml:9: trunks.provider.targets[1]: sip:203.0.113.1:5060;transport=udp a second time; take it out",
        ),
        (
            changed("sip:203.0.113.1\n", "[]\n"),
            "recproxy.yaml:9: trunks.provider.targets: empty; name where calls to this trunk go",
        ),
        (
            changed("sip:203.0.113.1\n", "{uri: sip:203.0.113.1, prio: 1}\n"),
            "recproxy.yaml:9: trunks.provider.targets: not a list",
        ),
        (
            changed("sip:203.0.113.1\n", "[{uri: sip:203.0.113.1, prio: 1}]\n"),
            "recproxy.yaml:9: trunks.provider.targets[0].prio: unknown key; did you mean priority?",
        ),
        (
            changed("sip:203.0.113.1\n", "[{uri: sip:203.0.113.1, weight: 65536}]\n"),
            "recproxy.yaml:9: trunks.provider.targets[0].weight: '65536' is not a whole number from 0 to 65535",
        ),
        (
            changed("sip:203.0.113.1\n", "sip:203.0.113.1\n    keepalive: PT1S\n"),
            "recproxy.yaml:10: trunks.provider.keepalive: not from PT5S to PT1H",
        ),
        (
            changed("sip:203.0.113.1\n", "sip:203.0.113.1\n    max_calls: 1001\n"),
            "recproxy.yaml:10: trunks.provider.max_calls: 1001 is more than sip.max_calls allows in all",
        ),
        (
            changed(
                "sip:203.0.113.1\n",
                "sip:203.0.113.1\n    register: {registrar: sip:192.0.2.1, user: a, password_file: p}\n",
            ),
            "recproxy.yaml:10: trunks.provider.register.registrar: sip:192.0.2.1:5060;transport=udp is our own socket: recproxy would call itself",
        ),
        (
            changed("inbound", "in"),
            "recproxy.yaml:10: trunks.provider.direction: 'in' is not one of inbound, outbound",
        ),
        (
            changed("forward_to: pbx", "forward_to: px"),
            "recproxy.yaml:11: trunks.provider.forward_to: no trunk is called 'px'; others here: pbx",
        ),
        (
            changed("forward_to: pbx", "forward_to: provider"),
            "recproxy.yaml:11: trunks.provider.forward_to: calls would go back to where they came from; name another trunk",
        ),
        (
            changed("  pbx:\n", "  PBX!:\n").replace("forward_to: pbx", "forward_to: PBX!"),
            "recproxy.yaml:12: trunks.PBX!: the name is not lower-case letters, digits, underscores and hyphens",
        ),
        (
            changed("media:\n", "media:\n  ports: 20000\n"),
            "recproxy.yaml:18: media.ports: '20000' is not a range of ports such as 20000-29999, from 1024 to 65535",
        ),
        (
            changed("media:\n", "media:\n  ports: 500-900\n"),
            "recproxy.yaml:18: media.ports: '500-900' is not a range of ports such as 20000-29999, from 1024 to 65535",
        ),
        (
            changed("media:\n", "media:\n  ports: 20001-20399\n"),
            "recproxy.yaml:18: media.ports: 20001-20399 holds 99 calls, sip.max_calls is 1000; give 4000 ports or allow fewer calls",
        ),
        (
            changed("media:\n", "media:\n  ports: 5000-29999\n"),
            "recproxy.yaml:5: sip.listen[0].port: 5060 is one of media.ports; choose another",
        ),
        (
            changed("media:\n  address: 192.0.2.1", "media:\n  address: 0.0.0.0"),
            "recproxy.yaml:18: media.address: 0.0.0.0 cannot be put into SDP; set media.advertise",
        ),
        (
            changed("media:\n", "media:\n  dscp: 64\n"),
            "recproxy.yaml:18: media.dscp: '64' is not a whole number from 0 to 63",
        ),
        (
            LEAST + "retention: {interval: PT2H}\n",
            "recproxy.yaml:25: retention.interval: not from PT1S to PT1H",
        ),
        (
            LEAST + "retention: {max_clock_step: PT0S}\n",
            "recproxy.yaml:25: retention.max_clock_step: less than PT1S, which ordinary clock correction needs",
        ),
        (
            LEAST + "cdr: {directory: /var/lib/recproxy/cdr}\n",
            "recproxy.yaml:25: cdr.directory: lies in storage.directory; give a directory apart from the recordings",
        ),
        (
            LEAST + "cdr: {directory: /var/lib/calls, keep: PT1H}\n",
            "recproxy.yaml:25: cdr.keep: not from P1D to P3653D",
        ),
        (
            LEAST + "log: {level: loud}\n",
            "recproxy.yaml:25: log.level: 'loud' is not one of debug, info, warning, error",
        ),
        (LEAST + "log: json\n", "recproxy.yaml:25: log: not a mapping of keys to values"),
    ],
)
def test_a_bad_file_is_named(text: str, message: str) -> None:
    assert message in problems(text)
    if "mount" not in text and "? [a]" not in text:
        assert problems(text) == (message,)


def test_no_trunks() -> None:
    start, end = LEAST.index("  provider:"), LEAST.index("media:")
    assert problems(LEAST[:start] + LEAST[end:]) == (
        "recproxy.yaml:6: trunks: empty; give at least one trunk",
    )


def test_every_problem_is_named_at_once_in_the_order_of_the_file() -> None:
    text = changed("address: 192.0.2.1}", "address: x}").replace("direction: inbound", "direction: in")
    text = text.replace("announcer:\n  directory: announcements\n", "").replace("audit_key", "audit_kay")
    assert problems(text) == (
        "recproxy.yaml:1: announcer: missing",
        "recproxy.yaml:5: sip.listen[0].address: 'x' is not a numeric IPv4 or IPv6 address",
        "recproxy.yaml:10: trunks.provider.direction: 'in' is not one of inbound, outbound",
        "recproxy.yaml:19: storage.audit_key: missing",
        "recproxy.yaml:22: storage.audit_kay: unknown key; did you mean audit_key?",
    )


def test_a_long_value_is_clipped() -> None:
    (message,) = problems(changed("inbound", "x" * 5000))
    assert len(message) < 200


@given(st.text(max_size=200))
def test_reading_noise_raises_nothing_but_config_errors(noise: str) -> None:
    for text in (noise, LEAST + noise, changed("inbound", noise)):
        _parse_or_refuse(text)


def _parse_or_refuse(text: str) -> None:
    try:
        parse(text)
    except ConfigError as err:
        said = err.problems
    else:
        return
    assert said
    assert all(problem.startswith("recproxy.yaml:") for problem in said)


# Files.


def test_a_file_is_read_with_its_line_endings(tmp_path: Path) -> None:
    path = tmp_path / "recproxy.yaml"
    path.write_bytes(b"a: 1\r\nb: \xc3\xa9\r\n")
    assert config.read(path) == "a: 1\r\nb: \u00e9\r\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "{path}: cannot be read: No such file or directory"),
        (b"a: 1\nb: \xff\n", "{path}:2: byte 0xff is not UTF-8"),
        (b"#" * 1_048_577, "{path}: larger than 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "recproxy.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(caught.value) == message.format(path=path)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.read(tmp_path)


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recproxy.yaml"
    path.write_text(LEAST)
    assert config.load(path).policy == tmp_path / "policy.yaml"


def test_networks_of_one_trunk_may_overlap() -> None:
    trunk = parse(changed("[203.0.113.0/28]", "[203.0.113.0/28, 203.0.113.1]")).trunks
    assert [len(one.peers) for one in trunk.values()] == [2, 1]


# A reload.


def test_a_reload_names_what_changes() -> None:
    old = parse(LEAST)
    assert config.check_reload(old, parse(LEAST), "x") == ()
    text = changed("outbound", "inbound").replace("policy.yaml", "p.yaml") + "log: {level: debug}\n"
    text = text.replace("listen:", "drain: PT1M\n  listen:") + "retention: {interval: PT1M}\n"
    assert config.check_reload(old, parse(text), "x") == (
        "policy",
        "sip.drain",
        "trunks.pbx.direction",
        "retention.interval",
        "log.level",
    )


def test_a_reload_refuses_as_a_whole_what_needs_a_restart() -> None:
    text = changed("outbound", "inbound").replace("announcements", "words") + "log: {format: console}\n"
    with pytest.raises(ConfigError) as caught:
        config.check_reload(parse(LEAST), parse(text), "recproxy.yaml")
    assert caught.value.problems == (
        "recproxy.yaml: announcer.directory: changed, which needs a restart",
        "recproxy.yaml: log.format: changed, which needs a restart",
    )


def test_a_key_may_be_a_credential_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = changed("audit_key: audit.key", "audit_key: ${CREDENTIALS_DIRECTORY}/audit.key")
    place = tmp_path / "recproxy.yaml"
    place.write_text(text)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/recproxy.service")
    assert config.load(place).storage.audit_key == Path("/run/credentials/recproxy.service/audit.key")
    # Elsewhere it names no file, and whoever needs the key is told so by that name.
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert config.load(place).storage.audit_key == tmp_path / "${CREDENTIALS_DIRECTORY}" / "audit.key"


# The catalogue.

POSTGRESQL = "postgresql+psycopg://recproxy@/recproxy?host=/run/postgresql"


def with_storage(*lines: str) -> str:
    return changed("storage:\n", "storage:\n" + "".join(f"  {line}\n" for line in lines))


def test_a_catalogue_that_nodes_share() -> None:
    storage = parse(
        with_storage(f"catalogue: {POSTGRESQL}", "catalogue_password_file: pw", "former_nodes: [rec2]")
    ).storage
    assert (storage.catalogue_url, storage.catalogue_file) == (POSTGRESQL, None)
    assert storage.catalogue_password_file == Path("/etc/recproxy/pw")
    assert storage.nodes(NodeName("rec1")) == ("rec1", "rec2")


def test_a_catalogue_of_ones_own_has_all_rows_whatever_the_node_is_called() -> None:
    storage = parse(LEAST).storage
    assert storage.nodes(NodeName("rec1")) is None
    assert storage.catalogue_file == Path("/var/lib/recproxy/catalogue.sqlite")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ("catalogue: postgresql+psycopg://recproxy:swordfish@/recproxy",),
            "storage.catalogue: holds a password, which is not for this file; give catalogue_password_file",
        ),
        (
            ("catalogue: postgresql+psycopg://recproxy@/recproxy?password=swordfish",),
            "storage.catalogue: holds a password, which is not for this file; give catalogue_password_file",
        ),
        (
            ("catalogue: mysql://recproxy@/recproxy",),
            "storage.catalogue: is for mysql; write sqlite:///… or postgresql+psycopg://…",
        ),
        (("catalogue: sqlite:///a.sqlite",), "storage.catalogue: is not sqlite:/// and an absolute path"),
        (
            ("catalogue: postgresql+psycopg://recproxy@[/x",),
            "storage.catalogue: is no URL such as postgresql+psycopg://recproxy@/recproxy?host=/run/postgresql",
        ),
        (
            ("catalogue: postgresql+psycopg://recproxy@db.example",),
            "storage.catalogue: names no database: postgresql+psycopg://ROLE@HOST/DATABASE",
        ),
        (
            ("catalogue_password_file: pw",),
            "storage.catalogue_password_file: is for a catalogue in PostgreSQL; take it out",
        ),
        (
            (f"catalogue: {POSTGRESQL}", "catalogue_timeout: PT11S"),
            "storage.catalogue_timeout: is not from PT1S to PT10S",
        ),
        (("former_nodes: [a]",), "storage.former_nodes: is for a catalogue in PostgreSQL; take it out"),
        (
            (f"catalogue: {POSTGRESQL}", "former_nodes: [a, recproxy]"),
            "storage.former_nodes[1]: recproxy a second time; take it out",
        ),
    ],
)
def test_a_bad_catalogue_is_named_and_no_password_is_shown(lines: tuple[str, ...], message: str) -> None:
    (problem,) = problems(with_storage(*lines))
    assert problem.endswith(f": {message}")
    assert "swordfish" not in problem
