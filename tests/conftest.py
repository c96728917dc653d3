"""What every test may lean on.

Test files are imported on their own (``--import-mode=importlib``), so the helper
modules beside them are put on the path here, once.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

ON_REQUEST = ("soak", "pbx")

if TYPE_CHECKING:
    import sqlalchemy as sa
    from daemon import Settings
    from parties import Call as RelayedCall
    from postgres import Postgres
    from rig import Call, Rig

    from rtp.relay import IoChoice, Relay


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes an hour or a second operating system, unless it is asked for by its mark."""
    asked = config.getoption("markexpr") or ""
    unasked = [
        item for item in items if any(item.get_closest_marker(m) and m not in asked for m in ON_REQUEST)
    ]
    if unasked:
        config.hook.pytest_deselected(items=unasked)
        items[:] = [item for item in items if item not in unasked]


@pytest.fixture(scope="session")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all daemons of the run keep their spoken announcements: each is made once."""
    return tmp_path_factory.mktemp("prompts")


@pytest.fixture
def make_rig(tmp_path: Path, prompts: Path) -> Iterator[Callable[..., Rig]]:
    """Make rigs that are taken down after the test."""
    import rig as rigs  # noqa: PLC0415 - on the path only since this file put it there

    with contextlib.ExitStack() as stack:

        def make(settings: Settings | None = None) -> Rig:
            directory = tmp_path / f"rig-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            return stack.enter_context(rigs.rig(directory, prompts, settings))

        yield make


@pytest.fixture
def standing(make_rig: Callable[..., Rig]) -> Iterator[tuple[Rig, Call]]:
    """A call that is recorded; afterwards it must have lost nothing."""
    import rig as rigs  # noqa: PLC0415 - on the path only since this file put it there

    with rigs.standing(make_rig()) as made:
        yield made


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests of the run; each takes a database of its own."""
    import postgres as servers  # noqa: PLC0415 - on the path only since this file put it there

    with servers.postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def catalogue_engine(request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    """An empty catalogue's engine, of each database that it can be in."""
    from postgres import PASSWORD  # noqa: PLC0415
    from storage_machine import memory_engine  # noqa: PLC0415

    from storage.catalogue import postgresql_engine  # noqa: PLC0415 - only some tests need it

    if request.param == "sqlite":
        engine = memory_engine()
    else:
        server: Postgres = request.getfixturevalue("postgres")
        engine = postgresql_engine(server.database(), PASSWORD)
    yield engine
    engine.dispose()


@pytest.fixture(params=["epoll", "io_uring"])
def io(request: pytest.FixtureRequest) -> IoChoice:
    """Each way in which the relay can read and send; skips what this system does not allow."""
    from rtp.errors import RelayError  # noqa: PLC0415 - most tests need no engine
    from rtp.relay import Relay  # noqa: PLC0415

    wanted: IoChoice = request.param
    try:
        Relay(ring_bytes=1 << 16, io=wanted).close()
    except RelayError as error:
        pytest.skip(str(error))
    return wanted


@pytest.fixture
def relay(io: IoChoice) -> Iterator[Relay]:
    """A relay without streams."""
    from rtp.relay import Relay  # noqa: PLC0415 - most tests need no engine

    with Relay(ring_bytes=1 << 20, io=io) as opened:
        yield opened


@pytest.fixture
def call(relay: Relay) -> Iterator[RelayedCall]:
    """A call through the relay, with a telephone at each end."""
    import parties  # noqa: PLC0415 - on the path only since this file put it there

    made = parties.Call(relay, parties.pool())
    yield made
    made.close()
