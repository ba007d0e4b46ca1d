"""
What a bucket said, in words a DAG author can act on.

The client library reports errors as a long debug text with the HTTP answer inside; only status, code and message of it
are passed on, because the rest may hold signed URLs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.storage.location import without_secrets
from airflow_provider_sentinelhub.client.errors import StorageUnavailable
from airflow_provider_sentinelhub.client.text import one_line, printable

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.artifacts.storage.location import Location

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]{1,100})</Code>|\(code: (\w{1,100})\)")
_MESSAGE = re.compile(r"<Message>([^<]{1,500})</Message>")
_CAUSES = re.compile(r'(?:message|error): "([^"]{1,200})"|(?:inner|source): (TimedOut|Timeout)|"([a-z ]+ error)"')
_METADATA = re.compile(r"169\.254\.169\.254|metadata\.google\.internal|token request", re.IGNORECASE)

_BAD_KEY = re.compile(r"service account file|pem file|credential error", re.IGNORECASE)

_CHECK_KEYS = "Check the access key and secret in the connection used for this bucket"
_MAY = (
    f"{_CHECK_KEYS}, and that they allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket; "
    "without s3:ListBucket a missing object is refused too"
)
_ADVICE = {
    "NoSuchBucket": "Check the bucket name, the endpoint URL and the tenant; the bucket does not exist there",
    "SignatureDoesNotMatch": f"{_CHECK_KEYS}: the secret does not belong to the key",
    "InvalidAccessKeyId": f"{_CHECK_KEYS}: this endpoint does not know the key",
    "AccessDenied": _MAY,
    "ExpiredToken": "The temporary credentials have expired: fetch new ones and run the task again",
    "InvalidToken": "The session token does not belong to the access key, or has expired",
    "RequestTimeTooSkewed": "Set the clock of this worker: it differs from the bucket's by too much",
    "PermanentRedirect": "Set the bucket's own region in the connection",
    "AuthorizationHeaderMalformed": "Set the bucket's own region in the connection",
    "SlowDown": "The bucket limits the request rate; try again later",
}
_REFUSALS = frozenset({"301", "400", "401", "403", "404"})
_ADVICE_BY_STATUS = {
    "301": _ADVICE["PermanentRedirect"],
    "400": "Check region and endpoint URL in the connection",
    "401": _CHECK_KEYS,
    "403": _MAY,
    "404": _ADVICE["NoSuchBucket"],
    "429": _ADVICE["SlowDown"],
}


BUSY = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses of a bucket that is in trouble, or asked too often: the same may succeed in a moment."""


class StorageAnswer(Exception):
    """
    What a bucket answered, fit to be shown in a traceback; the client library's own errors are not.

    :param said: The answer, or the library's error.
    """

    def __init__(self, said: object) -> None:
        super().__init__(printable(without_secrets(str(said))))


def is_missing_bucket(error: BaseException) -> bool:
    """
    Tell a missing bucket from a missing object.

    :param error: What the client library raised.
    """
    return "NoSuchBucket" in str(error)


def is_status(error: BaseException, status: int) -> bool:
    """
    Say whether the bucket answered with this HTTP status.

    :param error: What the client library raised.
    :param status: HTTP status.
    """
    found = _STATUS.search(str(error))
    return found is not None and found[1] == str(status)


def is_busy(error: BaseException) -> bool:
    """
    Say whether the bucket is in trouble, or asked too often.

    :param error: What the client library raised.
    """
    return any(is_status(error, status) for status in BUSY)


def is_refusal(error: BaseException) -> bool:
    """
    Tell a bucket that said no from one that could not be asked, or is in trouble: that may pass.

    :param error: What the client library raised.
    """
    # One of several objects that are deleted at once is refused without a status of its own.
    return _first(_CODE, str(error)) == "AccessDenied" or _first(_STATUS, str(error)) in _REFUSALS


def storage_unavailable(action: str, location: Location, error: BaseException) -> StorageUnavailable:
    """
    Say what failed, where, what the bucket said, and what to do next.

    :param action: What was tried, e.g. ``read``.
    :param location: On what.
    :param error: What the client library raised.
    """
    text = str(error)
    status, code, message = (_first(pattern, text) for pattern in (_STATUS, _CODE, _MESSAGE))
    said = ", ".join(part for part in (f"HTTP {status}" if status else "", code, message) if part)
    if not said:
        said = _cause(text)
    if _BAD_KEY.search(text):
        advice = "Check the service account key: paste the whole downloaded key file into the connection"
    elif _METADATA.search(text):
        advice = "No credentials were given and this machine has none of its own: set them in the connection"
    elif code in _ADVICE:
        advice = _ADVICE[code]
    elif status in _ADVICE_BY_STATUS:
        advice = _ADVICE_BY_STATUS[status]
    elif location.scheme == "file":
        advice = "Check that the folder exists and this user may use it"
    else:
        advice = "Check the endpoint URL and the network, or try again later"
    return StorageUnavailable(f"Could not {action} {location}. The storage said: {said}. {advice}.")


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return _shown(found[found.lastindex or 0]) if found else ""


def _cause(text: str) -> str:
    summary = _shown(text.partition("\n")[0])
    causes = [next(filter(None, groups)) for groups in _CAUSES.findall(text)]
    cause = _shown(causes[-1]) if causes else ""
    return f"{summary} ({cause})" if cause and cause not in summary else summary


def _shown(text: str) -> str:
    return one_line(without_secrets(text)).rstrip(".")
