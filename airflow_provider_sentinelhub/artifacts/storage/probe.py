"""
Checks of a bucket before a task needs it: whether it can be written to, and in which region it is.

Source of the region: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow_provider_sentinelhub.artifacts.storage.layout import request_url, root_folder

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

_AWS = "https://s3.amazonaws.com"
_CONNECT_S, _READ_S = 3.0, 5.0
_NUMBER = "write-check"
_CONTENT = b'{"about": "Airflow checks that this bucket can be written to. This object may be deleted."}'


def probe_write(storage: Storage, delivery_url: str) -> str:
    """
    Write a tiny object where the service will put its copy of the request, and delete it: two round trips.

    :param storage: Reaches the bucket.
    :param delivery_url: Delivery URL or template.
    :returns: The URL of the object, which is gone.
    :raises StorageUnavailable: It could not be written, or not be deleted; in that case it is still there.
    """
    # Always the same name, so that objects which could not be deleted do not pile up.
    url = request_url(root_folder(delivery_url, _NUMBER), _NUMBER)
    storage.upload(_CONTENT, url)
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
