"""Where a message came from and where its calls go."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recproxy.sip.targets import Hop, Target
from recproxy.sip.trunks import Trunk, TrunkTable, request_uri, source_host
from recproxy.sip.uri import Uri
from storage.tags import Direction

TARGET = Target("192.0.2.9", 5070, "tcp")


def _trunk(name: str, *peers: str) -> Trunk:
    return Trunk(name, peers, (TARGET,), Direction.INBOUND, "other")


TABLE = TrunkTable(
    [
        _trunk("wide", "10.0.0.0/8", "2001:db8::/32"),
        _trunk("narrow", "10.1.2.0/24"),
        _trunk("one", "10.1.2.3"),
    ]
)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("10.9.9.9", "wide"), ("10.1.2.9", "narrow"), ("10.1.2.3", "one"), ("2001:db8::1", "wide"),
        ("::ffff:10.1.2.3", "one"), ("11.0.0.1", None), ("2001:db9::1", None),
        ("pbx.example", None), ("", None),
    ],
)  # fmt: skip
def test_the_narrowest_network_wins(address: str, name: str | None) -> None:
    found = TABLE.source(address)
    assert (found.name if found else None) == name


@given(st.ip_addresses(v=4))
def test_every_address_belongs_to_whom_its_network_says(address: ipaddress.IPv4Address) -> None:
    found = TABLE.source(str(address))
    assert (found is not None) == (address in ipaddress.ip_network("10.0.0.0/8"))


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("192.0.2.1:5060", "192.0.2.1"),
        ("[2001:db8::1]:5060", "2001:db8::1"),
        ("[fe80::1%eth0]:5060", "fe80::1"),
    ],
)
def test_the_host_of_a_source_address(text: str, host: str) -> None:
    assert source_host(text) == host


@pytest.mark.parametrize(
    ("asked", "becomes"),
    [
        ("sip:0201234567@proxy", "sip:0201234567@192.0.2.9:5070;transport=tcp"),
        ("tel:+31201234567", "sip:+31201234567@192.0.2.9:5070;transport=tcp;user=phone"),
        ("urn:service:sos", "sip:112@192.0.2.9:5070;transport=tcp"),
        ("urn:service:sos.police", "sip:112@192.0.2.9:5070;transport=tcp"),
    ],
)
def test_a_call_is_addressed_to_the_next_trunk(asked: str, becomes: str) -> None:
    assert str(request_uri(Uri.parse(asked), Hop(TARGET, TARGET.host, 5070))) == becomes


@pytest.mark.parametrize(
    ("port", "becomes"),
    [
        (None, "sip:0201234567@sip.carrier.example;transport=udp"),
        (5070, "sip:0201234567@sip.carrier.example:5070;transport=udp"),
    ],
)
def test_a_named_server_is_asked_by_its_name(port: int | None, becomes: str) -> None:
    hop = Hop(Target("sip.carrier.example", port), "192.0.2.9", 5081)
    assert str(request_uri(Uri.parse("sip:0201234567@proxy"), hop)) == becomes


def test_an_address_keeps_its_trunk_however_many_came_before() -> None:
    table = TrunkTable([_trunk("wide", "10.0.0.0/8"), _trunk("narrow", "10.0.8.0/24")])
    hosts = [f"10.0.{third}.{fourth}" for third in range(16) for fourth in range(0, 256, 2)]
    for _ in range(2):
        for host in hosts:
            found = table.source(host)
            assert found is not None
            assert found.name == ("narrow" if host.startswith("10.0.8.") else "wide")


def test_unknown_names_have_no_trunk() -> None:
    assert TABLE.named("nowhere") is None
    assert TABLE.named("one") is not None


def test_a_peer_that_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        TrunkTable([_trunk("x", "10.0.0.1/8")])
