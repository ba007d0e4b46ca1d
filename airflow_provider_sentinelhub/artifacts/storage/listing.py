"""
Lists a bucket on S3, page by page.

The client library that reads and writes objects fails a whole listing because of one key that it cannot address, and
follows an endless listing forever. This module requests the pages itself: it skips keys that cannot be addressed, and
gives up a listing that makes no progress.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

import logging
import os
import re
import ssl
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_plus, urlencode

from airflow_provider_sentinelhub.artifacts.storage.errors import BUSY, NO_KEYS, StorageAnswer
from airflow_provider_sentinelhub.client.errors import StorageUnavailable
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    import requests

    from airflow_provider_sentinelhub.artifacts.storage.location import Location
    from airflow_provider_sentinelhub.artifacts.storage.object_stores import StorageOptions

_Entry = dict[str, str]

log = logging.getLogger(__name__)

MAX_KEYS = 20_000_000
"""Keys after which a listing is given up: nearly thirty times the features a task may have."""

MAX_BARREN_PAGES = 1_000
"""Pages in a row without a new key after which it is given up. Pages of deleted objects may be empty."""

# A server may return short pages. Each costs a request, so it counts as at least this many keys.
_LEAST_PER_PAGE = 200
_MAX_PAGE_BYTES = 8 * 1024 * 1024
_PAUSE_S = 0.5
_MAX_PAUSE_S = 8.0
_TRIES = 7
_TRIES_TO_CONNECT = 3
_SUCCESS = 200
_EXAMPLES = 3

# Keys that no URL names unambiguously.
_ODD_CHARACTER = re.compile(r"[\x00-\x1f\x7f?#\ufffd]")
_ODD_SEGMENTS = frozenset({"", ".", ".."})
# Characters that XML does not allow; servers send them all the same, as they are or by number. DEL replaces them.
_NOT_IN_XML = dict.fromkeys({*range(0x20)} - {0x09, 0x0A, 0x0D} | {*range(0xD800, 0xE000), 0xFFFE, 0xFFFF}, "\x7f")
_NUMBER = re.compile(r"&#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}));")


def list_s3(
    location: Location, options: StorageOptions, *, most: int = MAX_KEYS, most_barren: int = MAX_BARREN_PAGES
) -> Iterator[dict[str, Any]]:
    """
    List the objects below a folder: ``path``, ``size``, ``e_tag`` and ``last_modified`` of each.

    Keys that cannot be addressed are left out, and some of them named in the log. Objects that only stand for a folder
    (their keys end in a slash) are left out too.

    :param location: The folder.
    :param options: How to reach the bucket.
    :param most: Keys after which it is given up. Default :data:`MAX_KEYS`.
    :param most_barren: Pages in a row without a new key after which it is. Default :data:`MAX_BARREN_PAGES`.
    :raises StorageUnavailable: The bucket cannot be read, or the listing does not end.
    """
    prefix = f"{location.key}/" if location.key else ""
    odd = _OddKeys()
    try:
        for page in _Pages(location, prefix, options, most, most_barren):
            for entry in page:
                key = entry["Key"]
                if not key.startswith(prefix):
                    odd.add(key)
                elif not key.endswith("/"):
                    if _ODD_CHARACTER.search(key) or not _ODD_SEGMENTS.isdisjoint(key.split("/")):
                        odd.add(key)
                    else:
                        yield _described(key, entry)
    finally:
        if odd.count:
            log.warning(
                "Left out %d key%s below %s that no URL can name, e.g. %s",
                odd.count,
                "s" * (odd.count > 1),
                location,
                ", ".join(odd.examples),
            )


@dataclass(slots=True)
class _OddKeys:
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, key: str) -> None:
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(one_line(repr(key)))


@dataclass(frozen=True, slots=True)
class _Pages:
    """The pages of one listing, until they end or get nowhere."""

    location: Location
    prefix: str
    options: StorageOptions
    most: int
    most_barren: int

    def __iter__(self) -> Iterator[list[_Entry]]:
        token, tokens, before = "", {""}, frozenset[str]()
        spent = barren = 0
        with _session(self.options) as session:
            while True:
                page, token = self._page(session, token)
                yield page
                if not token:
                    return
                if token in tokens:
                    raise self._endless("the server gives the same continuation token again")
                tokens.add(token)
                keys = frozenset(entry["Key"] for entry in page)
                barren = barren + 1 if keys <= before else 0
                before = keys or before
                spent += max(len(page), _LEAST_PER_PAGE)
                if barren >= self.most_barren:
                    raise self._endless(f"{barren:,} pages in a row brought nothing new")
                if spent >= self.most:
                    raise self._endless(f"it may have {self.most:,} keys, where a page counts as {_LEAST_PER_PAGE}")

    def _endless(self, why: str) -> StorageUnavailable:
        return StorageUnavailable(
            f"Could not list {self.location}: the listing was given up at a limit that no bucket should reach: {why}. "
            "Check what answers at the endpoint URL, or deliver to a folder that holds nothing else."
        )

    def _page(self, session: requests.Session, token: str) -> tuple[list[_Entry], str]:
        import requests
        import urllib3
        from botocore.exceptions import BotoCoreError, ClientError

        query = {"list-type": "2", "encoding-type": "url", "prefix": self.prefix}
        try:
            answer = _parsed(self._asked(session, query | ({"continuation-token": token} if token else {})))
        except (requests.RequestException, urllib3.exceptions.HTTPError, BotoCoreError, ClientError) as e:
            raise StorageAnswer(str(e)) from None
        page = _fields(answer)
        entries = [_fields(element) for element in answer if _name(element) == "Contents"]
        is_encoded = page.get("EncodingType") == "url"
        for entry in entries:
            entry["Key"] = unquote_plus(entry["Key"]) if is_encoded else entry["Key"]
        return entries, page.get("NextContinuationToken", "") if page.get("IsTruncated", "").lower() == "true" else ""

    def _asked(self, session: requests.Session, query: dict[str, str]) -> bytes:
        region = self.options.region or _environment("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"
        endpoint = self.options.endpoint_url or _environment("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
        address = (endpoint or f"https://s3.{region}.amazonaws.com").rstrip("/")
        url = f"{address}/{quote(self.location.bucket)}?{urlencode(sorted(query.items()), quote_via=quote, safe='')}"
        headers = _signed(url, region, self.options)
        response = session.get(
            url,
            headers=headers,
            timeout=(self.options.connect_timeout, self.options.read_timeout),
            allow_redirects=False,
            stream=True,
        )
        body: bytes = response.raw.read(_MAX_PAGE_BYTES + 1)
        if response.status_code != _SUCCESS:
            raise StorageAnswer(body[:10_000].decode("utf-8", "replace"), response.status_code)
        if len(body) > _MAX_PAGE_BYTES:
            raise StorageAnswer(f"a page of more than {_MAX_PAGE_BYTES:,} bytes")
        return body


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


def _session(options: StorageOptions) -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            # The certificates this machine trusts, as in the client library, and not only those of requests.
            super().init_poolmanager(*args, ssl_context=_trust(), **kwargs)

    session = requests.Session()
    # Otherwise requests would replace the signature with credentials from ~/.netrc.
    session.auth = lambda request: request
    retry = Retry(
        total=_TRIES,
        connect=_TRIES_TO_CONNECT,
        read=1,
        backoff_factor=_PAUSE_S,
        backoff_max=min(_MAX_PAUSE_S, options.read_timeout),
        backoff_jitter=_PAUSE_S,
        status_forcelist=BUSY,
        raise_on_status=False,
        # Some servers send hours.
        respect_retry_after_header=False,
    )
    session.mount("https://", Adapter(max_retries=retry))
    session.mount("http://", HTTPAdapter(max_retries=retry))
    return session


def _signed(url: str, region: str, options: StorageOptions) -> dict[str, str]:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    from botocore.session import Session

    try:
        keys = options.current_keys()
    except Exception as e:  # noqa: BLE001 - a provider may raise anything
        raise StorageAnswer(f"{NO_KEYS}: {type(e).__name__}: {e}") from None
    credentials = (
        Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
        if keys is not None
        else Session().get_credentials()
    )
    if credentials is None:
        raise StorageAnswer("no credentials")
    request = AWSRequest("GET", url)
    S3SigV4Auth(credentials, "s3", region).add_auth(request)
    # Not signed, because proxies change it.
    return {**dict(request.headers.items()), "Accept-Encoding": "identity"}


def _environment(*names: str) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _parsed(body: bytes) -> Element:
    from xml.etree import ElementTree as ET

    # A page is bounded, and expat limits the expansion of entities.
    try:
        answer = ET.fromstring(body)  # noqa: S314 - see above
    except ET.ParseError:
        text = _NUMBER.sub(_replaced, body.decode("utf-8", "replace").translate(_NOT_IN_XML))
        try:
            answer = ET.fromstring(text)  # noqa: S314 - see above
        except ET.ParseError:
            raise StorageAnswer("an answer that is no XML") from None
    if _name(answer) != "ListBucketResult":
        raise StorageAnswer("an answer that is no listing")
    return answer


def _replaced(found: re.Match[str]) -> str:
    code = int(found[1], 16) if found[1] else int(found[2])
    return "\x7f" if code in _NOT_IN_XML or code > sys.maxunicode else found[0]


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _fields(element: Element) -> _Entry:
    return {_name(child): (child.text or "") for child in element}


def _described(key: str, entry: _Entry) -> dict[str, Any]:
    moment = datetime.fromisoformat(entry["LastModified"])
    return {
        "path": key,
        "size": int(entry["Size"]),
        "e_tag": entry.get("ETag"),
        "last_modified": moment if moment.tzinfo else moment.replace(tzinfo=UTC),
    }
