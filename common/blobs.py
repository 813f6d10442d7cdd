"""The only code that knows the bucket: what is too large for the table, uploads, and the owners' documents."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from common.errors import NotFound, TooLarge

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: How long a link to upload to or to download from works, in seconds.
LINK_LIFE = 900


class Blobs:
    """The client is made at the first use: most requests need none, and making one costs a cold start 50 ms."""

    def __init__(self, connect: Callable[[], S3Client], bucket: str) -> None:
        self._connect = connect
        self._bucket = bucket

    @cached_property
    def _client(self) -> S3Client:
        return self._connect()

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=data, ContentType=content_type)

    def get(self, key: str, most: int) -> bytes:
        """The bytes; `most` is the largest size that is read. Raises NotFound, TooLarge."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            # Without the right to list, S3 says 403 for an object that is not there.
            if error.response["Error"]["Code"] in {"NoSuchKey", "404", "AccessDenied"}:
                raise NotFound("Nothing is stored there (any more).") from None
            raise
        if answer["ContentLength"] > most:
            raise TooLarge(f"{answer['ContentLength']:,} bytes are stored there; at most {most:,} are read.")
        return answer["Body"].read()

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def delete_below(self, prefix: str) -> None:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in pages:
            for found in page.get("Contents", []):
                self.delete(found["Key"])

    def download_link(self, key: str) -> str:
        return self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=LINK_LIFE
        )

    def upload_link(self, key: str, size: int) -> str:
        """A link that takes one PUT of exactly `size` bytes."""
        return self._client.generate_presigned_url(
            "put_object", Params={"Bucket": self._bucket, "Key": key, "ContentLength": size}, ExpiresIn=LINK_LIFE
        )
