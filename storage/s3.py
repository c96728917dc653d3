"""Sealed bodies in an S3 bucket: uploaded in parts that can be taken up again, erased with every version.

A body is ciphertext whose key never leaves the node. The bucket need not be trusted with
anything but to keep it: what is read back is checked chunk by chunk, as from a disk.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from storage.errors import BodyMissing, RemoteFault
from storage.objects import ReadPart

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef, GetObjectOutputTypeDef, PartTypeDef

__all__ = ["Bucket", "BucketPlace"]

PART_BYTES: Final = 8 << 20  # S3 wants 5 MiB at least, but for the last part; 10,000 parts at most
_PIECE_BYTES: Final = 1 << 20
_BREAKS: Final = 3
_PAUSE_SECONDS: Final = 30.0
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchUpload"})
_UNKNOWN: Final = frozenset({"NotImplemented", "501"})


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """Where a bucket is and how it is opened.

    Attributes:
        name: Of the bucket.
        region: As the store calls it.
        endpoint: URL of the store; empty for Amazon's own.
        prefix: Before each key; empty or with a slash at its end.
        access_key: Id of the access key.
        secret_key: Its secret.
        authorities: PEM file of the certification authorities that the store is checked against;
            empty for the usual ones.
    """

    name: str
    region: str
    endpoint: str = ""
    prefix: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    authorities: str = ""


class Bucket:
    """``Objects`` in an S3 bucket; safe from several threads.

    A request is tried three times, with longer and longer pauses. When the store could not
    be reached all the same, the next 30 s of requests fail at once: who has many recordings
    to see to does not wait for each of them.

    Args:
        place: Where it is.
        monotonic: Seconds, for that pause.
    """

    def __init__(self, place: BucketPlace, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._place = place
        self._monotonic = monotonic
        self._away_until = float("-inf")
        self._client: S3Client = boto3.session.Session().client(
            "s3",
            region_name=place.region,
            endpoint_url=place.endpoint or None,
            aws_access_key_id=place.access_key,
            aws_secret_access_key=place.secret_key,
            verify=place.authorities or None,
            config=Config(
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "total_max_attempts": 3},
                request_checksum_calculation="when_required",  # ours go along
                response_checksum_validation="when_required",
                s3={"addressing_style": "path" if place.endpoint else "auto"},
            ),
        )

    def size(self, key: str) -> int | None:
        """See ``Objects.size``."""
        with self._named("head", key):
            try:
                found = self._client.head_object(Bucket=self._place.name, Key=self._key(key))
            except ClientError as err:
                if _code(err) in _ABSENT:
                    return None
                raise
            return found["ContentLength"]

    def pieces(self, key: str, offset: int = 0) -> Iterator[bytes]:
        """See ``Objects.pieces``; a stream that breaks is taken up where it broke."""
        breaks = 0
        etag = ""
        while True:
            with self._named("get", key):
                try:
                    found = self._get(key, offset, etag)
                except ClientError as err:
                    if _code(err) in _ABSENT:
                        raise BodyMissing(f"the body {key} is missing, here and in the bucket") from err
                    if _code(err) == "InvalidRange":
                        return  # nothing is behind the last byte
                    raise
                etag = found["ETag"]
                try:
                    for piece in found["Body"].iter_chunks(_PIECE_BYTES):
                        yield piece
                        offset += len(piece)
                except BotoCoreError:
                    breaks += 1
                    if breaks > _BREAKS:
                        raise
                else:
                    return

    def _get(self, key: str, offset: int, etag: str) -> GetObjectOutputTypeDef:
        where, span = self._place.name, f"bytes={offset}-"
        if etag:
            return self._client.get_object(Bucket=where, Key=self._key(key), Range=span, IfMatch=etag)
        return self._client.get_object(Bucket=where, Key=self._key(key), Range=span)

    def upload(self, key: str, size_bytes: int, read: ReadPart) -> None:
        """See ``Objects.upload``; one request up to 8 MiB, parts of that length above."""
        with self._named("put", key):
            if size_bytes <= PART_BYTES:
                data = read(0, size_bytes)
                self._client.put_object(
                    Bucket=self._place.name, Key=self._key(key), Body=data, ChecksumSHA256=_sha256(data)
                )
                return
            upload, there = self._begun(key)
            parts: list[CompletedPartTypeDef] = []
            for number, offset in enumerate(range(0, size_bytes, PART_BYTES), 1):
                parts.append(self._part(key, upload, number, read(offset, PART_BYTES), there.get(number)))
            self._client.complete_multipart_upload(
                Bucket=self._place.name,
                Key=self._key(key),
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )

    def delete(self, key: str) -> bool:
        """See ``Objects.delete``."""
        with self._named("delete", key):
            found = self._delete_versions(key)
            for upload in self._uploads(key):
                self._abort(key, upload)
                found = True
            return found

    def keys(self) -> Iterator[str]:
        """See ``Objects.keys``."""
        with self._named("list", ""):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._place.name, Prefix=self._place.prefix):
                for found in page.get("Contents", ()):
                    yield found["Key"].removeprefix(self._place.prefix)

    def _key(self, key: str) -> str:
        return self._place.prefix + key

    def _begun(self, key: str) -> tuple[str, dict[int, PartTypeDef]]:
        """An upload to go on with, and its parts; a fresh one if none was begun."""
        *older, newest = self._uploads(key) or [""]
        for upload in older:
            self._abort(key, upload)
        if newest:
            pages = self._client.get_paginator("list_parts").paginate(
                Bucket=self._place.name, Key=self._key(key), UploadId=newest
            )
            return newest, {part["PartNumber"]: part for page in pages for part in page.get("Parts", ())}
        begun = self._client.create_multipart_upload(
            Bucket=self._place.name, Key=self._key(key), ChecksumAlgorithm="SHA256"
        )
        return begun["UploadId"], {}

    def _part(
        self, key: str, upload: str, number: int, data: bytes, there: PartTypeDef | None
    ) -> CompletedPartTypeDef:
        checksum = _sha256(data)
        if there is not None and there.get("Size") == len(data) and _is_of(there, data, checksum):
            etag = there["ETag"]
        else:
            etag = self._client.upload_part(
                Bucket=self._place.name,
                Key=self._key(key),
                UploadId=upload,
                PartNumber=number,
                Body=data,
                ChecksumSHA256=checksum,
            )["ETag"]
        return {"PartNumber": number, "ETag": etag, "ChecksumSHA256": checksum}

    def _uploads(self, key: str) -> list[str]:
        """Unfinished uploads of a key, the oldest first."""
        pages = self._client.get_paginator("list_multipart_uploads")
        found = [
            upload
            for page in pages.paginate(Bucket=self._place.name, Prefix=self._key(key))
            for upload in page.get("Uploads", ())
            if upload["Key"] == self._key(key)
        ]
        return [upload["UploadId"] for upload in sorted(found, key=lambda upload: upload["Initiated"])]

    def _abort(self, key: str, upload: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self._place.name, Key=self._key(key), UploadId=upload)
        except ClientError as err:
            if _code(err) not in _ABSENT:  # somebody was faster
                raise

    def _delete_versions(self, key: str) -> bool:
        found = False
        pages = self._client.get_paginator("list_object_versions")
        try:
            for page in pages.paginate(Bucket=self._place.name, Prefix=self._key(key)):
                for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                    if version["Key"] == self._key(key):
                        self._client.delete_object(
                            Bucket=self._place.name, Key=self._key(key), VersionId=version["VersionId"]
                        )
                        found = True
        except ClientError as err:
            if _code(err) not in _UNKNOWN:  # a store without versions
                raise
            found = self.size(key) is not None
            self._client.delete_object(Bucket=self._place.name, Key=self._key(key))
        return found

    @contextmanager
    def _named(self, operation: str, key: str) -> Iterator[None]:
        """Turn what the store says into a fault that names the object."""
        where = f"{self._place.name}/{self._key(key)}"
        if self._monotonic() < self._away_until:
            raise RemoteFault(
                operation, where, errno.EHOSTUNREACH, "the object store was not reached just now"
            )
        try:
            yield
        except ClientError as err:
            error = err.response.get("Error", {})
            what = f"{error.get('Code', '')} {error.get('Message', '')}".strip()
            raise RemoteFault(operation, where, errno.EREMOTEIO, f"the object store says: {what}") from err
        except BotoCoreError as err:
            self._away_until = self._monotonic() + _PAUSE_SECONDS
            raise RemoteFault(operation, where, errno.EHOSTUNREACH, str(err)) from err


def _code(err: ClientError) -> str:
    return str(err.response.get("Error", {}).get("Code", ""))


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _is_of(part: PartTypeDef, data: bytes, checksum: str) -> bool:
    """Whether a part holds this very data; older stores tell its MD5 alone."""
    if "ChecksumSHA256" in part:
        return part["ChecksumSHA256"] == checksum
    return part["ETag"].strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()
