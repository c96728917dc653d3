"""Trunks whose peers are recording clients: what such a trunk needs, and what has no meaning there."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from recproxy import config
from recproxy.errors import ConfigError
from recproxy.media import TrunkMedia
from recproxy.sip.trunks import TrunkTable
from recproxy.wiring import media_places, media_trunks, sip_settings

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "etc" / "examples" / "siprec" / "recproxy.yaml"
FORK = """\
version: 1
policy: policy.yaml
sip:
  listen:
    - {transport: udp, address: 192.0.2.1}
  max_calls: 100
trunks:
  sbc:
    peers: [192.0.2.20]
    siprec: true
    direction: inbound
media:
  address: 192.0.2.1
storage:
  directory: /var/lib/recproxy
  recipients: recipients.txt
  audit_key: audit.key
announcer:
  directory: announcements
"""
PBX = """\
  pbx:
    peers: [192.0.2.10]
    targets: sip:192.0.2.10:5060;transport=udp
    direction: outbound
    forward_to: sbc
"""


def problems(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, "recproxy.yaml", Path("/etc/recproxy"))
    return str(caught.value)


def test_a_recording_client_needs_neither_target_nor_a_trunk_to_go_on_to() -> None:
    read = config.parse(FORK, "recproxy.yaml", Path("/etc/recproxy"))
    (trunk,) = read.trunks.values()
    assert trunk.siprec
    assert trunk.notice_header == "X-Recording-Notice"
    made = sip_settings(read)
    assert TrunkTable(made.trunks).fork_clients == ("192.0.2.20/32",)
    media = media_trunks(read, media_places(read))["sbc"]
    assert isinstance(media, TrunkMedia)
    assert media.caller.advertise == media.callee.advertise == "192.0.2.1"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("targets: sip:192.0.2.20:5060;transport=udp", "targets"),
        ("forward_to: sbc", "forward_to"),
        ("keepalive: PT30S", "keepalive"),
        ("register: {registrar: sip:192.0.2.20, user: a, password_file: p}", "register"),
    ],
)
def test_what_leads_on_has_no_meaning_for_a_fork(line: str, key: str) -> None:
    said = problems(FORK.replace("    siprec: true\n", f"    siprec: true\n    {line}\n"))
    assert f"trunks.sbc.{key}: has no meaning with siprec" in said


def test_the_limits_of_a_client_are_those_of_any_trunk() -> None:
    said = problems(FORK.replace("    siprec: true\n", "    siprec: true\n    max_calls: 101\n"))
    assert "trunks.sbc.max_calls: 101 is more than sip.max_calls allows in all" in said


def test_no_call_goes_on_to_a_recording_client() -> None:
    said = problems(FORK.replace("media:\n", f"{PBX}media:\n", 1))
    assert "trunks.pbx.forward_to: sbc sends forks and takes no calls; name another trunk" in said


@pytest.mark.parametrize("key", ["targets", "forward_to"])
def test_other_trunks_still_need_both(key: str) -> None:
    text = (ROOT / "etc" / "examples" / "kamailio-behind" / "recproxy.yaml").read_text()
    kept = [one for one in text.splitlines() if not one.strip().startswith(f"{key}:")]
    assert f"trunks.provider.{key}" in problems("\n".join(kept))


@pytest.mark.parametrize("name", ["Contact", "Via", "not a name", "X-*x", "X-*"])
def test_the_header_of_the_notice_must_be_one_that_peers_may_send(name: str) -> None:
    said = problems(FORK.replace("    siprec: true\n", f'    siprec: true\n    notice_header: "{name}"\n'))
    assert "trunks.sbc.notice_header" in said


def test_the_example_says_how_an_sbc_is_wired() -> None:
    read = config.load(EXAMPLE)
    (trunk,) = read.trunks.values()
    assert trunk.siprec
    assert trunk.peers == (ipaddress.ip_network("192.0.2.20"),)
    assert {place.transport.value for place in read.sip.listen} == {"tcp", "tls"}
