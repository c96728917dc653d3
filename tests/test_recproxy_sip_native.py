"""The C module's pure parts, compiled alone under the sanitisers and against Python's models."""

from __future__ import annotations

import ctypes
import ipaddress
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

SOURCE = Path(__file__).parent.parent / "tools" / "pjsua2"

pytestmark = pytest.mark.skipif(not SOURCE.is_dir(), reason="the wheel is tested without the sources")


class Net(ctypes.Structure):
    """struct recproxy_net."""

    _fields_ = (("addr", ctypes.c_uint8 * 16), ("bits", ctypes.c_uint8), ("len", ctypes.c_uint8))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("net") / "net.so"
    subprocess.run(
        ["gcc", "-std=gnu11", "-O1", "-fPIC", "-shared", "-fsanitize=undefined",
         "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror",
         str(SOURCE / "recproxy_net.c"), "-o", str(library)],
        check=True,
    )  # fmt: skip
    return ctypes.CDLL(str(library))


def _parse(net: ctypes.CDLL, text: str) -> Net | None:
    out = Net()
    raw = text.encode()
    return out if net.recproxy_net_parse(raw, ctypes.c_size_t(len(raw)), ctypes.byref(out)) == 0 else None


MAPPED = ipaddress.ip_address("::ffff:0:0")
MAPPED_BITS = 96
NETWORKS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.tuples(st.ip_addresses(v=6), st.integers(0, 128))
).map(lambda pair: ipaddress.ip_network(pair, strict=False))


def _plain(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _plain_network(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network of IPv4-mapped addresses (RFC 4291, 2.5.5.2) as the IPv4 network that it is."""
    first = network.network_address
    if isinstance(first, ipaddress.IPv6Address) and first.ipv4_mapped and network.prefixlen >= MAPPED_BITS:
        return ipaddress.ip_network((first.ipv4_mapped, network.prefixlen - MAPPED_BITS))
    return network


@example(network=ipaddress.ip_network("::ffff:0:0/96"), offset=0, other=ipaddress.ip_address("192.0.2.1"))
@given(network=NETWORKS, offset=st.integers(0, 2**128 - 1), other=st.ip_addresses())
def test_matching_agrees_with_python(
    net: ctypes.CDLL,
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
    offset: int,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    parsed = _parse(net, str(network))
    assert parsed is not None
    inside = network[offset % network.num_addresses]
    for address in (inside, other):
        got = net.recproxy_net_match(
            ctypes.byref(parsed), address.packed, ctypes.c_size_t(len(address.packed))
        )
        plain = _plain(address)
        covers_mapped = network.version == 6 and MAPPED in network and network.prefixlen < MAPPED_BITS
        if not covers_mapped:
            allowed = _plain_network(network)
            assert bool(got) == (plain.version == allowed.version and plain in allowed)


@pytest.mark.parametrize(
    "text",
    ["", "/", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/08", "1.2.3.4/1", "1.2.3", "1.2.3.4.5",
     "::1/129", "::1/64", "x", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4/24/8", ":::", "fe80::1%eth0", "0" * 60,
     "1.2.3.4/9999", "10.0.0.0/8\0"],
)  # fmt: skip
def test_what_is_no_network_is_refused(net: ctypes.CDLL, text: str) -> None:
    assert _parse(net, text) is None


@given(st.text(alphabet="0123456789abcdef.:/%x ", max_size=60))
def test_any_text_is_refused_or_is_a_network(net: ctypes.CDLL, text: str) -> None:
    parsed = _parse(net, text)
    try:
        expected = ipaddress.ip_network(text) if "%" not in text else None
    except ValueError:
        expected = None
    if parsed is not None:
        assert expected is not None
        assert parsed.bits <= parsed.len * 8


def test_an_ipv4_mapped_network_is_its_ipv4_form(net: ctypes.CDLL) -> None:
    parsed = _parse(net, "::ffff:192.0.2.0/120")
    assert parsed is not None
    assert (bytes(parsed.addr[:4]), parsed.bits, parsed.len) == (b"\xc0\x00\x02\x00", 24, 4)
