"""The bucket: parts that are taken up again, answers that break, and nothing left of what is deleted."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from s3_stage import S3Server, client, s3_server

from storage import BodyMissing, RemoteFault
from storage.s3 import Bucket, BucketPlace

KEY = "recordings/2026/11/24/aa.age"
MIB = 1 << 20
SMALL, LARGE = random.Random(1).randbytes(300_000), random.Random(2).randbytes(12 * MIB + 5)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setattr("storage.s3.PART_BYTES", 5 * MIB)  # the least that S3 allows
    yield server.bucket()
    server.gate.refuse = server.gate.cut = 0
    server.gate.spoil = None


def upload(bucket: Bucket, data: bytes) -> None:
    bucket.upload(KEY, len(data), lambda offset, size: data[offset : offset + size])


def content(bucket: Bucket, offset: int = 0) -> bytes:
    return b"".join(bucket.pieces(KEY, offset))


@pytest.mark.parametrize("data", [b"x", SMALL, LARGE[: 5 * MIB], LARGE], ids=["1", "small", "part", "parts"])
def test_what_is_uploaded_comes_back(bucket: Bucket, data: bytes) -> None:
    assert bucket.size(KEY) is None
    upload(bucket, data)
    assert bucket.size(KEY) == len(data)
    assert content(bucket) == data
    assert content(bucket, len(data) // 2) == data[len(data) // 2 :]
    assert content(bucket, len(data)) == b""
    assert list(bucket.keys()) == [KEY]
    assert bucket.delete(KEY)
    assert not bucket.delete(KEY)
    assert list(bucket.keys()) == []


def test_what_is_not_there_is_named(bucket: Bucket) -> None:
    with pytest.raises(BodyMissing, match=KEY):
        content(bucket)


def test_a_broken_upload_goes_on_where_it_broke(server: S3Server, bucket: Bucket) -> None:
    server.gate.refuse, server.gate.refuses = 99, lambda what: "partNumber=2" in what
    with pytest.raises(RemoteFault, match="SlowDown"):
        upload(bucket, LARGE)
    assert bucket.size(KEY) is None
    server.gate.refuse = 0
    server.gate.seen.clear()
    upload(bucket, LARGE)
    parts = [what.rpartition(" ")[2] for what in server.gate.seen if "partNumber" in what]
    assert parts == ["partNumber=2", "partNumber=3"], "the first part was there"
    assert content(bucket) == LARGE


def test_parts_of_other_content_are_not_taken_for_ours(server: S3Server, bucket: Bucket) -> None:
    begun = client(bucket).create_multipart_upload(Bucket=bucket._place.name, Key="rec/" + KEY)
    client(bucket).upload_part(
        Bucket=bucket._place.name,
        Key="rec/" + KEY,
        UploadId=begun["UploadId"],
        PartNumber=1,
        Body=bytes(5 * MIB),
    )
    upload(bucket, LARGE)
    assert content(bucket) == LARGE


def test_a_busy_store_is_asked_again(server: S3Server, bucket: Bucket) -> None:
    server.gate.refuses = lambda _what: True
    server.gate.refuse = 2
    upload(bucket, SMALL)
    assert len([what for what in server.gate.seen if what.startswith("PUT")]) == 3
    assert content(bucket) == SMALL


def test_an_answer_that_breaks_is_taken_up_where_it_broke(server: S3Server, bucket: Bucket) -> None:
    upload(bucket, LARGE)
    server.gate.cut = 2
    assert content(bucket) == LARGE
    server.gate.cut = 9
    with pytest.raises(RemoteFault):
        content(bucket)


def test_deleting_leaves_no_version_and_no_part(bucket: Bucket) -> None:
    api, name = client(bucket), bucket._place.name
    api.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for data in (SMALL, b"other", SMALL):
        upload(bucket, data)
    api.delete_object(Bucket=name, Key="rec/" + KEY)  # leaves a marker
    api.create_multipart_upload(Bucket=name, Key="rec/" + KEY)
    api.put_object(Bucket=name, Key="rec/" + KEY + "x", Body=b"another")
    assert bucket.delete(KEY)
    left = api.list_object_versions(Bucket=name)
    assert [version["Key"] for version in left.get("Versions", ())] == ["rec/" + KEY + "x"]
    assert "DeleteMarkers" not in left
    assert "Uploads" not in api.list_multipart_uploads(Bucket=name)


def test_a_store_that_is_away_is_not_asked_for_each_of_many() -> None:
    now = [0.0]
    away = Bucket(BucketPlace("recordings", "eu-central-1", "http://127.0.0.1:9"), lambda: now[0])
    with pytest.raises(RemoteFault, match=r"127\.0\.0\.1:9"):
        away.size(KEY)
    with pytest.raises(RemoteFault, match="not reached just now"):
        away.size(KEY)
    now[0] = 30.0
    with pytest.raises(RemoteFault, match=r"127\.0\.0\.1:9"):
        away.size(KEY)


def test_no_credential_is_shown() -> None:
    place = BucketPlace("recordings", "eu-central-1", access_key="AKIAKEY", secret_key="swordfish")  # noqa: S106
    assert "swordfish" not in repr(place)
    assert "AKIAKEY" not in repr(place)
