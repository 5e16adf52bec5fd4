"""Bytes by key, in a folder or in S3, the same way.

A write is atomic: a reader finds the old bytes or the new ones, never half. It knows nothing of movies. Credentials
and endpoint of S3 come from the AWS environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, a role, …), or from a block
of prefect-aws.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from settings import make_folder

BLOCK = "s3-bucket/"
PARTIAL = ".partial-"  # begins the names of files that are being written


class Store(Protocol):
    """Bytes by key; keys are relative paths with "/"."""

    uri: str

    def read(self, key: str) -> bytes:
        """Return the bytes at `key`; raises FileNotFoundError."""

    def write(self, key: str, data: bytes) -> None:
        """Put the bytes at `key`, whole or not at all."""

    def create(self, key: str, data: bytes) -> bool:
        """Put the bytes at `key` unless something is there; return whether it was put. Of several, one succeeds."""

    def keys(self, prefix: str) -> list[str]:
        """Return all keys that start with `prefix`, sorted."""

    def stamps(self, prefix: str) -> dict[str, str]:
        """Return all keys that start with `prefix`, sorted, each with a mark that is another after each write."""

    def delete(self, key: str) -> None:
        """Remove `key`; no error where there is none."""


class FolderStore:
    """A store in a local folder, made on the first write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = str(folder)

    def read(self, key: str) -> bytes:
        return (self.folder / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        with self._written(key, data) as partial:
            os.replace(partial, self.folder / key)

    def create(self, key: str, data: bytes) -> bool:
        with self._written(key, data) as partial:
            try:
                os.link(partial, self.folder / key)  # fails where the name is taken, and is never half there
            except FileExistsError:
                return False
        return True

    def keys(self, prefix: str) -> list[str]:
        return list(self.stamps(prefix))

    def stamps(self, prefix: str) -> dict[str, str]:
        top, found = self.folder / (prefix if prefix.endswith("/") else Path(prefix).parent), {}
        for folder, _, names in os.walk(top):
            inside = f"{Path(folder).relative_to(self.folder).as_posix()}/".removeprefix("./")
            for name in names:
                if (inside + name).startswith(prefix) and not name.startswith(PARTIAL):
                    with suppress(FileNotFoundError):  # somebody removed it meanwhile
                        facts = os.stat(f"{folder}/{name}")  # noqa: PTH116 (pathlib takes ten times as long)
                        found[inside + name] = f"{facts.st_mtime_ns}-{facts.st_size}"
        return dict(sorted(found.items()))

    @contextmanager
    def _written(self, key: str, data: bytes) -> Iterator[str]:
        """Yield a file beside `key` that holds the bytes and is gone afterwards."""
        path = self.folder / key
        handle, partial = tempfile.mkstemp(dir=make_folder(path.parent, "STORE_URI"), prefix=PARTIAL)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield partial
        finally:
            Path(partial).unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        (self.folder / key).unlink(missing_ok=True)


class S3Store:
    """A store under a prefix of an S3 bucket, Amazon's or another's."""

    def __init__(self, bucket: str, prefix: str, credentials: Any = None) -> None:
        """`credentials` is a block of prefect-aws; without it AWS's environment counts."""
        self.bucket, self.prefix = bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.uri = f"s3://{bucket}/{self.prefix}".rstrip("/")
        # Servers other than Amazon's do not know its newer checksums.
        config = Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=10,
            read_timeout=60,
            retries={"max_attempts": 5, "mode": "standard"},
        )
        # A session of its own: boto3's default one keeps the first credentials that it saw.
        session = credentials.get_boto3_session() if credentials else boto3.session.Session()
        endpoint = credentials.aws_client_parameters.endpoint_url if credentials else None
        self._client: Any = session.client("s3", config=config, endpoint_url=endpoint)

    def read(self, key: str) -> bytes:
        try:
            body: bytes = self._client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                raise FileNotFoundError(f"{self.uri}/{key}") from error
            raise
        return body

    def write(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data)

    def create(self, key: str, data: bytes) -> bool:
        try:
            self._client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                return False
            raise
        return True

    def keys(self, prefix: str) -> list[str]:
        return list(self.stamps(prefix))

    def stamps(self, prefix: str) -> dict[str, str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix + prefix)
        items = (item for page in pages for item in page.get("Contents", []))
        # An entity tag names content; the time tells a rewrite of the same.
        return dict(
            sorted((i["Key"][len(self.prefix) :], f"{i['ETag']} {i['LastModified'].isoformat()}") for i in items)
        )

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.bucket, Key=self.prefix + key)


def open_store(uri: str) -> Store:
    """Open the store at a folder, at s3://bucket/prefix, or where the Prefect block s3-bucket/name says."""
    if uri.startswith(BLOCK):
        from prefect_aws.s3 import S3Bucket  # slow, and used by few

        block: Any = S3Bucket.load(uri.removeprefix(BLOCK))
        return S3Store(block.bucket_name, block.bucket_folder, block.credentials)
    parts = urlsplit(uri)
    if parts.scheme == "s3":
        if len(parts.netloc) < 3:
            raise ValueError("STORE_URI names no bucket: write s3://bucket/prefix")
        return S3Store(parts.netloc, parts.path)
    return FolderStore(Path(uri))
