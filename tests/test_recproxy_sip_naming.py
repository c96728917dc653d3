"""Servers by name: SRV, addresses, and a DNS server that is down."""

from __future__ import annotations

import random

import pytest
from loopback import Addresses, Lease
from name_server import NameServer
from sdp_bodies import AMR_WB, audio
from sip_bench import Bench, Dialog, Wire, bench

from recproxy.sip.hunt import SILENCE_S
from recproxy.sip.naming import Address, Answer, Names, Question, Service
from recproxy.sip.resolver import Resolver
from recproxy.sip.targets import Target

CARRIER = Target("carrier.example")
SRV = Question("_sip._udp.carrier.example", "SRV")


def _names(**answers: Answer) -> Names:
    names = Names(random.Random(1).randrange, (4,))
    names.locate(CARRIER)
    for name, answer in answers.items():
        names.learned(Question(f"{name}.example", "A"), answer, 0.0)
    return names


def test_a_service_is_found_by_its_priority_with_its_port() -> None:
    names = _names(
        a=Answer((Address("192.0.2.1"), Address("192.0.2.2")), 60), b=Answer((Address("192.0.2.3"),), 60)
    )
    services = (Service(20, 0, 5080, "a.example"), Service(10, 0, 5070, "b.example"))
    names.learned(SRV, Answer(services, 60), 0.0)
    assert [(hop.host, hop.port) for hop in names.locate(CARRIER)] == [
        ("192.0.2.3", 5070),
        ("192.0.2.1", 5080),
        ("192.0.2.2", 5080),
    ]


def test_a_name_without_service_is_an_address_on_the_usual_port() -> None:
    names = _names(carrier=Answer((Address("192.0.2.1"),), 60))
    assert names.locate(CARRIER) == (), "not before DNS has said that there is no service"
    names.learned(SRV, Answer((), 60), 0.0)
    assert [(hop.host, hop.port) for hop in names.locate(CARRIER)] == [("192.0.2.1", 5060)]
    named_port = Target("carrier.example", 5070)
    assert [hop.port for hop in names.locate(named_port)] == [5070]
    assert [hop.port for hop in Names(random.randrange).locate(Target("192.0.2.1", None, "tls"))] == [5061]


def test_a_service_that_is_said_not_to_exist_is_nowhere() -> None:
    names = _names(carrier=Answer((Address("192.0.2.1"),), 60))
    names.learned(SRV, Answer((Service(0, 0, 0, ""),), 60), 0.0)  # RFC 2782: the target "."
    assert names.locate(CARRIER) == ()


def test_an_answer_is_asked_for_again_when_it_is_old_and_kept_when_none_comes() -> None:
    names = _names()
    assert names.pending
    assert names.wanted(0.0) == [SRV]
    assert names.wanted(0.0) == [], "asked already"
    names.learned(SRV, Answer((), 60), 0.0)
    names.locate(CARRIER)
    (address,) = names.wanted(0.0)
    names.learned(address, Answer((Address("192.0.2.1"),), 60), 0.0)
    assert not names.pending
    assert names.wanted(59.9) == []
    assert set(names.wanted(60.0)) == {SRV, address}
    for question in (SRV, address):
        names.learned(question, None, 64.0)
    assert [hop.host for hop in names.locate(CARRIER)] == ["192.0.2.1"]
    assert names.wanted(93.9) == []
    assert set(names.wanted(94.0)) == {SRV, address}


@pytest.mark.parametrize(("ttl_s", "again_at"), [(0, 5.0), (1e9, 3600.0)])
def test_no_answer_is_kept_for_ever_or_asked_for_all_the_time(ttl_s: float, again_at: float) -> None:
    names = _names()
    names.wanted(0.0)
    names.learned(SRV, Answer((), ttl_s), 0.0)
    assert names.wanted(again_at - 0.01) == []
    assert names.wanted(again_at) == [SRV]


# ------------------------------------------------------------ a real DNS server
def _bench_servers(where: Addresses) -> tuple[Target, ...]:
    return (CARRIER,)


@pytest.mark.interop
def test_calls_find_their_servers_by_srv_and_go_on_when_dns_is_down() -> None:
    with Lease.take() as lease:
        where = lease.addresses
        zone = {
            ("_sip._udp.carrier.example", "SRV"): ("10 0 5060 one.example.", "20 0 5070 two.example."),
            ("one.example", "A"): (where.callee,),
            ("two.example", "A"): (where.foreign,),
        }
        place = where.daemon.rpartition(".")[0] + ".53"
        with (
            NameServer(place, zone) as server,
            bench(lease=lease, targets=_bench_servers, nameservers=(place,)) as stage,
        ):
            second = Wire(where.foreign, 5070, stage.caller.proxy)
            stage.more(second)
            try:
                _calls(stage, server, second)
            finally:
                second.close()


def _calls(stage: Bench, server: NameServer, second: Wire) -> None:
    a = Dialog.calling(stage.caller)
    stage.caller.send(a.request("INVITE", audio(stage.caller.address, 4000, codecs=(AMR_WB,))))
    invite = stage.receive(stage.callee, "INVITE")
    assert invite.uri == "sip:0201234567@carrier.example;transport=udp"
    assert invite.one("route") == f"<sip:{stage.callee.address}:5060;transport=udp;lr>"
    stage.later(SILENCE_S)
    other = stage.receive(second, "INVITE")
    assert other.one("route") == f"<sip:{second.address}:5070;transport=udp;lr>"
    second.send(Dialog.called(second, other).response(other, 486, "Busy Here"))
    assert stage.receive(stage.caller, "486")
    stage.caller.send(a.request("ACK"))
    server.silent = True
    asked = len(server.asked)
    stage.later(40)
    stage.until(lambda: len(server.asked) > asked, "DNS to be asked again")
    stage.callee.inbox.clear()
    b = Dialog.calling(stage.caller)
    stage.caller.send(b.request("INVITE", audio(stage.caller.address, 4000, codecs=(AMR_WB,))))
    assert stage.receive(stage.callee, "INVITE"), "by the answer that was known last"


def test_the_resolver_tells_no_name_from_no_answer() -> None:
    with Lease.take() as lease:
        place = lease.addresses.daemon
        with NameServer(
            place, {("a.example", "A"): ("192.0.2.1",), ("a.example", "AAAA"): ("2001:db8::1",)}
        ) as server:
            resolver = Resolver((place,))
            assert resolver._resolve(Question("a.example", "A")) == Answer((Address("192.0.2.1"),), 5)
            assert resolver._resolve(Question("a.example", "AAAA")) == Answer((Address("[2001:db8::1]"),), 5)
            assert resolver._resolve(Question("a.example", "SRV")) == Answer((), 60)
            assert resolver._resolve(Question("b.example", "A")) == Answer((), 60)
            server.silent = True
            assert resolver._resolve(Question("a.example", "A")) is None
            resolver.close()
