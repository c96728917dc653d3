"""``recproxy run``: the daemon."""

from __future__ import annotations

import os
from pathlib import Path

import click
from msgspec.structs import replace

from recproxy.cli.options import FILE, config_option
from recproxy.config import Config, load
from recproxy.errors import RecproxyError

__all__ = ["run"]


@click.command("run", short_help="Run the recording proxy until SIGTERM.")
@config_option
@click.option("--policy", type=FILE, help="Policy file, instead of the one that the configuration names.")
def run(config: Path, policy: Path | None) -> int:
    """Run the recording proxy until SIGTERM.

    SIGTERM lets calls end, then ends them and seals their recordings. SIGHUP
    reads both files again; if one is wrong, or a key changed that needs a
    restart, all is refused and what was in force stays.
    """

    def read() -> Config:
        settings = load(config)
        return settings if policy is None else replace(settings, policy=policy)

    settings = read()
    try:
        from recproxy import daemon  # noqa: PLC0415 - a wrong configuration is told before PJSIP is loaded
    except ModuleNotFoundError as err:
        raise RecproxyError(
            f"{err.name} is not installed", hint='build it with "make dev", then see "recproxy doctor"'
        ) from err
    return daemon.run(settings, os.environ, read)
