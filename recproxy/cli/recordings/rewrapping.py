"""``recproxy recordings rewrap``: from an epoch's key to the long-lived one."""

from __future__ import annotations

from pathlib import Path

import click

from recproxy.cli.archive import actor, load_identity_files, open_archive
from recproxy.cli.display import tick
from recproxy.cli.options import config_option, identity_option
from recproxy.errors import RecproxyError
from storage import OsFiles, Rewrapper, Tombstone, load_recipients

__all__ = ["rewrap"]


@click.command(
    "rewrap", short_help="Wrap recordings to the long-lived key, before their epoch's is destroyed."
)
@click.argument("recordings", nargs=-1, required=True)
@config_option
@identity_option(required=True)
def rewrap(recordings: tuple[str, ...], config: Path, identities: tuple[Path, ...]) -> None:
    """Wrap RECORDINGS (ids, or their first digits) to the recipients of storage.recipients.

    For what a hold or a tag keeps beyond the others of its epoch, so that the
    private key of the epoch can be destroyed. --identity is that key; the audio
    is not touched. The new header is read back before the old one is destroyed.
    """
    with open_archive(config) as archive:
        found = [archive.find(text) for text in recordings]
        for one in found:
            if isinstance(one, Tombstone):
                raise RecproxyError(f"recording {one.recording} is {one.state.value}: it has no key any more")
        keys = load_identity_files(identities)
        place = archive.config.storage.recipients
        recipients = load_recipients(OsFiles(place.parent), place.name)
        with archive.audit(actor()) as chain:
            rewrapper = Rewrapper(archive.files, archive.catalogue, chain, recipients)
            for row in found:
                if isinstance(row, Tombstone):
                    continue
                done = rewrapper.rewrap(row.tags.recording, keys)
                for one_wrap in done:
                    tick(
                        True,
                        f"recording {row.tags.recording}: {one_wrap.purpose} no longer needs "
                        f"{one_wrap.key_group} {one_wrap.epoch}",
                    )
                if not done:
                    tick(True, f"recording {row.tags.recording}: wrapped to no epoch, nothing to do")
