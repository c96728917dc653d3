import threading

import pytest

from rtp.endpoints import PortPair
from rtp.errors import PortsExhausted, RelayError
from rtp.ports import PortPool


def test_pairs_are_even_and_inside_the_range() -> None:
    pool = PortPool("127.0.0.1", 10001, 10008)
    assert pool.free == pool.size == 3
    pairs = [pool.allocate() for _ in range(3)]
    assert [(pair.rtp_port, pair.rtcp_port) for pair in pairs] == [
        (10002, 10003),
        (10004, 10005),
        (10006, 10007),
    ]
    assert pool.free == 0
    assert pool.size == 3


def test_the_last_port_belongs_to_the_range() -> None:
    assert PortPool("127.0.0.1", 10000, 10001).allocate() == PortPair("127.0.0.1", 10000)


def test_an_empty_pool_says_so_and_recovers() -> None:
    pool = PortPool("127.0.0.1", 10000, 10003)
    first, _ = pool.allocate(), pool.allocate()
    with pytest.raises(PortsExhausted, match=r"all 2 port pairs of 127\.0\.0\.1:10000-10003 .* widen"):
        pool.allocate()
    pool.release(first)
    assert pool.allocate() == first


def test_a_pair_given_back_rests_longest() -> None:
    pool = PortPool("127.0.0.1", 10000, 10007)
    first = pool.allocate()
    pool.release(first)
    assert [pool.allocate() for _ in range(4)][-1] == first


def test_what_was_not_handed_out_cannot_be_given_back() -> None:
    pool = PortPool("127.0.0.1", 10000, 10003)
    pair = pool.allocate()
    pool.release(pair)
    for stray in (pair, PortPair("127.0.0.1", 9998), PortPair("127.0.0.2", pair.rtp_port)):
        with pytest.raises(RelayError, match="not handed out"):
            pool.release(stray)


@pytest.mark.parametrize(
    ("first", "last"), [(10001, 10002), (10002, 10002), (10004, 10000), (80, 90), (65000, 65536)]
)
def test_an_impossible_range_is_refused(first: int, last: int) -> None:
    with pytest.raises(RelayError, match=f"RTP port range {first}-{last}"):
        PortPool("127.0.0.1", first, last)


def test_threads_never_share_a_pair() -> None:
    pool = PortPool("127.0.0.1", 10000, 10063)
    held: list[PortPair] = []
    clashes: list[PortPair] = []

    def churn() -> None:
        for _ in range(2000):
            pair = pool.allocate()
            if pair in held:
                clashes.append(pair)
            held.append(pair)
            held.remove(pair)
            pool.release(pair)

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not clashes
    assert pool.free == 32
