"""
Checks of a bucket before a task needs it: whether it can be written, read and listed, and in which region it is.

Source of the region: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow_provider_sentinelhub.artifacts.storage.layout import request_url, root_folder
from airflow_provider_sentinelhub.client.errors import ArtifactMissing

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

_AWS = "https://s3.amazonaws.com"
_CONNECT_S, _READ_S = 3.0, 5.0
_NUMBER = "write-check"
_CONTENT = b'{"about": "Airflow checks that this bucket can be written to. This object may be deleted."}'


def probe_bucket(storage: Storage, delivery_url: str) -> str:
    """
    Write a tiny object where the service will put its copy of the request, read it, list and delete it.

    These are all permissions that Airflow and the service need. Four round trips.

    :param storage: Reaches the bucket.
    :param delivery_url: Delivery URL or template.
    :returns: The URL of the object, which is gone.
    :raises StorageUnavailable: One of these failed. The object is still there if it could not be deleted.
    """
    # Always the same name, so that objects which could not be deleted do not pile up.
    url = request_url(root_folder(delivery_url, _NUMBER), _NUMBER)
    storage.upload(_CONTENT, url)
    try:
        # Another check that runs at the same time may have deleted it.
        with suppress(ArtifactMissing):
            storage.read(url)
        # As a folder it is empty, however much there is beside it.
        next(iter(storage.list(url)), None)
    finally:
        storage.delete(url)
    return url


def bucket_region(bucket: str, endpoint_url: str | None = None) -> str | None:
    """
    Return the region of a bucket on S3: one round trip, without credentials; AWS names it even in a refusal.

    :param bucket: Its name.
    :param endpoint_url: Other endpoint than AWS.
    :returns: The region; ``None`` if the answer does not name it.
    """
    import requests

    url = f"{(endpoint_url or _AWS).rstrip('/')}/{quote(bucket, safe='')}"
    try:
        answer = requests.head(url, allow_redirects=False, timeout=(_CONNECT_S, _READ_S))
    except requests.RequestException:
        return None
    return answer.headers.get("x-amz-bucket-region")
