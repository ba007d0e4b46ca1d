"""
What a bucket answered, as an error a DAG author can act on.

The client library reports errors as a long debug text that contains the HTTP answer; only its status, code and message
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

# For what no class of the client library tells and stands only in its text: other statuses than those in _statuses()
# (it has no class for 400, 429 or 5xx, nor for any of a bulk delete), the server's own code and message, and the reason
# why there was no answer.
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]{1,100})</Code>|\(code: (\w{1,100})\)")
_MESSAGE = re.compile(r"<Message>([^<]{1,500})</Message>")
_CAUSES = re.compile(r'(?:message|error): "([^"]{1,200})"|(?:inner|source): (TimedOut|Timeout)|"([a-z ]+ error)"')
_NO_CREDENTIALS = re.compile(
    r"no credentials|token request|169\.254\.169\.254|metadata\.google\.internal", re.IGNORECASE
)
_BAD_KEY = re.compile(r"service account file|pem file|credential error", re.IGNORECASE)
# The client library has the same class for a bucket that refuses credentials and for a provider that fails.
NO_KEYS = "External AWS credential provider"
"""Stands in the client library's text where a provider of keys failed."""

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
_ADVICE_BY_STATUS = {
    301: _ADVICE["PermanentRedirect"],
    400: "Check region and endpoint URL in the connection",
    401: _CHECK_KEYS,
    403: _MAY,
    404: _ADVICE["NoSuchBucket"],
    429: _ADVICE["SlowDown"],
}
_REFUSALS = frozenset({301, 400, 401, 403, 404})

BUSY = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses of a bucket that is in trouble or limits the request rate: the same request may succeed later."""


class StorageAnswer(Exception):
    """
    What a bucket answered, without the secrets that the client library's own errors may hold.

    :param said: The answer, or the error that stands for it.
    :param status: HTTP status; ``None`` to find it in the text, if there is one.
    """

    def __init__(self, said: object, status: int | None = None) -> None:
        text = str(said)
        super().__init__(printable(without_secrets(text)))
        self.status = status or int(_first(_STATUS, text) or 0) or None
        """HTTP status; ``None`` where there was no answer."""
        self.code = _first(_CODE, text)
        """What the server calls the error; empty where it does not say."""
        self.message = _first(_MESSAGE, text)
        """What the server says about it; empty where it says nothing."""

    @classmethod
    def of(cls, error: BaseException) -> StorageAnswer:
        """
        Return what an error says.

        :param error: An answer, or what the client library raised.
        """
        if isinstance(error, cls):
            return error
        is_answer = NO_KEYS not in str(error)
        return cls(error, next((status for kind, status in _statuses() if isinstance(error, kind) and is_answer), None))

    @property
    def is_missing_bucket(self) -> bool:
        """Whether the bucket is missing, and not an object in it."""
        return self.code == "NoSuchBucket"

    @property
    def is_busy(self) -> bool:
        """Whether the bucket is in trouble or limits the request rate."""
        return self.status in BUSY

    @property
    def is_refusal(self) -> bool:
        """Whether the bucket refused the request; otherwise it was unreachable or failed, and a retry may succeed."""
        # In the answer to a bulk delete, a refused object has a code but no status.
        return self.code == "AccessDenied" or self.status in _REFUSALS


def _statuses() -> tuple[tuple[type[BaseException], int], ...]:
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    return (PermissionDeniedError, 403), (UnauthenticatedError, 401), (FileNotFoundError, 404)


def storage_unavailable(action: str, location: Location, error: BaseException) -> StorageUnavailable:
    """
    Say what failed, where, what the bucket said, and what to do next.

    :param action: What was tried, e.g. ``read``.
    :param location: On what.
    :param error: An answer, or what the client library raised.
    """
    answer, text = StorageAnswer.of(error), str(error)
    is_disk = location.scheme == "file"
    status = f"HTTP {answer.status}" if answer.status and not is_disk else ""
    said = ", ".join(filter(None, (status, answer.code, answer.message))) or _cause(text)
    if is_disk:
        advice = "Check that the folder exists and this user may use it"
    elif _BAD_KEY.search(text):
        advice = "Check the service account key: paste the whole downloaded key file into the connection"
    elif _NO_CREDENTIALS.search(text):
        advice = "No credentials were given and this machine has none of its own: set them in the connection"
    elif NO_KEYS in text:
        advice = "New credentials could not be fetched: check the connection, or try again later"
    elif answer.code in _ADVICE:
        advice = _ADVICE[answer.code]
    elif answer.status in _ADVICE_BY_STATUS:
        advice = _ADVICE_BY_STATUS[answer.status]
    else:
        advice = "Check the endpoint URL and the network, or try again later"
    return StorageUnavailable(f"Could not {action} {location}. The storage said: {said}. {advice}.")


def answer_of(error: BaseException) -> StorageAnswer | None:
    """
    Return the bucket's answer behind an error; ``None`` where there is none.

    :param error: What :class:`Storage` raised.
    """
    return error.__cause__ if isinstance(error.__cause__, StorageAnswer) else None


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
