"""Opens what ``storage`` of the configuration names."""

from __future__ import annotations

from recproxy.config.storing import NodeName, StorageConfig
from recproxy.errors import ConfigError
from recproxy.secretfile import secret_lines
from storage import Catalogue, Files, Objects, StorageError
from storage.catalogue import ANSWER_SECONDS, reach

__all__ = ["bucket_fault", "catalogue_fault", "open_catalogue", "open_objects"]


def open_catalogue(
    places: StorageConfig, node: NodeName, files: Files, *, hurried: bool = False
) -> Catalogue:
    """Open or create the catalogue.

    Args:
        places: What names it.
        node: Name of this node.
        files: The data directory.
        hurried: Whether calls wait for its answers.

    Raises:
        ConfigError: Its password cannot be read.
        CatalogueError: It cannot be opened or is of a newer version, or the node's name is another's.
        FileFault: Its file cannot be created.
    """
    return Catalogue.open(
        files,
        places.catalogue_url,
        password=_password(places),
        nodes=places.nodes(node),
        answer_s=places.catalogue_timeout.total_seconds() if hurried else ANSWER_SECONDS,
    )


def open_objects(places: StorageConfig) -> Objects | None:
    """The object store that holds sealed bodies; None if none is configured. Asks nobody yet.

    Args:
        places: What names it.

    Raises:
        ConfigError: Its credentials cannot be read.
    """
    bucket = places.bucket
    if bucket is None:
        return None
    from storage.s3 import Bucket, BucketPlace  # noqa: PLC0415 - it takes a second to load

    access_key, secret_key = secret_lines("storage.bucket.credentials_file", bucket.credentials_file, 2)
    return Bucket(
        BucketPlace(
            name=bucket.name,
            region=bucket.region,
            endpoint=bucket.endpoint,
            prefix=bucket.prefix,
            access_key=access_key,
            secret_key=secret_key,
            authorities=str(bucket.authorities or ""),
        )
    )


def catalogue_fault(places: StorageConfig) -> str | None:
    """What keeps us from a catalogue on a server; empty if nothing does, None if it is a file."""
    if places.catalogue_file is not None:
        return None
    try:
        reach(places.catalogue_url, _password(places))
    except (ConfigError, StorageError) as err:
        return str(err)
    return ""


def bucket_fault(places: StorageConfig) -> str | None:
    """What keeps us from the bucket; empty if nothing does, None if there is none."""
    try:
        objects = open_objects(places)
        if objects is None:
            return None
        objects.size("recproxy doctor looks for what is not there")
    except (ConfigError, StorageError) as err:
        return str(err)
    return ""


def _password(places: StorageConfig) -> str:
    if places.catalogue_password_file is None:
        return ""
    (password,) = secret_lines("storage.catalogue_password_file", places.catalogue_password_file)
    return password
