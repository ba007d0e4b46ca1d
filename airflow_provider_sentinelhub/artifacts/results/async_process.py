"""
What Async Process requests leave in the bucket, and what this package leaves there to find them again.

The service lists no requests, and knows one only while it runs. So all that must be known later is in the bucket: each
request is delivered to a folder of its own, whose name follows from the intent. A note in that folder, written
before the request is sent, says that it may have been sent; the id of the request is in the note once it is known, and
in the names of everything that the service writes there.

Source: https://docs.planet.com/develop/apis/async-processing/ (delivery, error.json, copy of the request)
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.artifacts.storage.location import Location, without_secrets
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, ArtifactMissing, InvalidParameter
from airflow_provider_sentinelhub.client.lifecycle.tasks import ID
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_sentinelhub.artifacts.storage.storage import ObjectMeta, Storage
    from airflow_provider_sentinelhub.client.lifecycle.intent import Intent

REQUEST_ID: Final = "<REQUEST_ID>"
OUTPUT: Final = "<OUTPUT>"
NOTE: Final = "airflow-request.json"
ERROR: Final = "error.json"
SUBMISSIONS: Final = 1000
"""Maximum number of requests for one intent."""

_ANY = re.compile(r"<[^<>/]*>")
_KNOWN = (REQUEST_ID, OUTPUT)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_EXTENSIONS: Final = {
    "image/tiff": ("tif", "tiff"),
    "image/png": ("png",),
    "image/jpeg": ("jpg", "jpeg"),
    "application/json": ("json",),
}
# A request has a few outputs; more objects in its folder are not its own.
_OBJECTS = 1000
_SMALL_BYTES = 4 * 1024**2
_SHOWN = 5
# The year 3000, in seconds since the epoch.
_LATEST = 32_503_680_000.0
# How the cost is named in the copy of the request is not documented.
_COSTS = frozenset({"costpu", "cost", "pu", "processingunits", "processingunitsspent", "xprocessingunitsspent"})
_DEPTH = 4


def check_delivery_url(body: Mapping[str, Any], field: str, url: str) -> None:  # noqa: ARG001 - as for other APIs
    """
    Check the form of a delivery URL.

    :param body: The request, of any shape.
    :param field: Where in the request the URL stands.
    :param url: A folder, or a template.
    :raises InvalidParameter: Results cannot be delivered there, or could not be found again.
    """
    shown = without_secrets(url)
    if not url.startswith(("s3://", "gs://")):
        fix = "Write s3://bucket/folder or gs://bucket/folder."
        raise InvalidParameter(field, shown, "must start with s3:// or gs://", fix)
    for unknown in sorted(set(_ANY.findall(url)) - set(_KNOWN)):
        fix = f"Use {REQUEST_ID} and {OUTPUT}."
        raise InvalidParameter(field, shown, f"{unknown} is not a placeholder of this API", fix)
    if set(_ANY.sub("", url)) & {"<", ">"}:
        raise InvalidParameter(field, shown, "has a '<' or '>' that is no placeholder", "Remove it.")
    if "<" in url.split("/", 3)[2]:
        raise InvalidParameter(field, shown, "has a placeholder in the name of the bucket", "Name the bucket.")
    Location.parse(_ANY.sub("x", url), field=field, folder=True)
    missing = [each for each in _KNOWN if each not in url]
    if "<" in url and missing:
        rule = f"a template must hold {' and '.join(missing)}, or the results could not be told apart and found again"
        fix = f"Write e.g. s3://bucket/folder/{REQUEST_ID}/{OUTPUT}, or the folder alone, which means the same."
        raise InvalidParameter(field, shown, rule, fix)


class Stage(StrEnum):
    """What became of a request, as far as service and bucket tell."""

    UNKNOWN = "UNKNOWN"
    """It may have been sent, and there is no trace of it yet."""
    RUNNING = "RUNNING"
    """The service is working on it."""
    GONE = "GONE"
    """The service does not know it any more, and neither all its outputs nor an error are in the bucket yet."""
    DELIVERED = "DELIVERED"
    """All its outputs are in the bucket."""
    FAILED = "FAILED"
    """An error is in the bucket."""


# If there are several requests, the first of these that one of them is in tells which of them to continue with.
_FIRST = (Stage.DELIVERED, Stage.RUNNING, Stage.GONE, Stage.FAILED, Stage.UNKNOWN)


@dataclass(frozen=True, slots=True)
class State:
    """
    The state of a request.

    :param stage: What became of it.
    :param request_id: Its id; empty if it is not known.
    :param urls: URLs of its outputs that are in the bucket, by identifier.
    :param missing: Identifiers of the others.
    :param message: Its error; empty if there is none.
    :param cost_pu: Processing units it has cost; ``None`` if the service does not tell.
    :param seen: Names of some objects in its folder, for messages.
    """

    stage: Stage
    request_id: str = ""
    urls: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    message: str = ""
    cost_pu: float | None = None
    seen: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether the request has ended, and how is known."""
        return self.stage in {Stage.DELIVERED, Stage.FAILED}


def best(states: Iterable[State]) -> State:
    """
    Return the state of the request to continue with, if a request was sent more than once.

    :param states: Those of all that were found; :attr:`Stage.UNKNOWN` if none was.
    """
    return min(states, key=lambda state: _FIRST.index(state.stage), default=State(Stage.UNKNOWN))


class Waited(StrEnum):
    """Why a wait for a request has ended."""

    ENDED = "ended"
    """The results, or an error, are in the bucket."""
    NO_TRACE = "no_trace"
    """There is no trace of a request that may have been sent."""
    GONE = "gone"
    """The service does not know the request any more, and its results are not in the bucket."""
    LATE = "late"
    """The deadline has passed."""
    LOST = "lost"
    """Service or bucket have refused every look for too long."""
    PAUSED = "paused"
    """A pause is over."""


@dataclass(slots=True)
class Patience:
    """
    How long to wait for what does not appear.

    :param since: When the request may have been sent, in seconds since the epoch.
    :param trace_timeout: Seconds to wait for a trace of the request, and for its results after its end.
    """

    since: float
    trace_timeout: float
    _gone_since: float | None = None

    def ends_with(self, state: State) -> Waited | None:
        """
        Return why the wait is over; ``None`` if it is not.

        :param state: The state that was just read.
        """
        now = time.time()
        if state.stage is not Stage.GONE:
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = now
        if state.is_over:
            return Waited.ENDED
        if state.stage is Stage.UNKNOWN and now >= self.since + self.trace_timeout:
            return Waited.NO_TRACE
        is_gone = self._gone_since is not None and now >= self._gone_since + self.trace_timeout
        return Waited.GONE if is_gone else None


@dataclass(frozen=True, slots=True)
class Submission:
    """
    A request that was sent, or may have been sent; the content of a note.

    :param number: Its number, from 1, among those of the same intent.
    :param generation: ``max_tries`` of the task instance: a user's clear raises it, an automatic retry does not.
    :param at: When the note was written, in seconds since the epoch.
    :param token: Distinguishes those who write a note at the same time.
    :param request_id: Id of the request; empty if it is not known.
    :param deadline: When the wait for it ends, in seconds since the epoch; ``None`` for never.
    :param succeeded: Whether the Airflow task has succeeded with it.
    """

    number: int
    generation: int
    at: float = 0.0
    token: str = ""
    request_id: str = ""
    deadline: float | None = None
    succeeded: bool = False

    @classmethod
    def read(cls, number: int, content: bytes, written: float) -> Submission:
        """
        Read a note; one that cannot be read still says that a request may have been sent.

        :param number: Its number.
        :param content: The note.
        :param written: When it was written, in seconds since the epoch.
        """
        try:
            found = json.loads(content)
            # Somebody may have changed it: an odd time would make a wait endless, an odd id another path.
            return cls(
                number,
                int(found["generation"]),
                _moment(found["at"]) or written,
                str(found["token"]),
                found["request_id"] if re.fullmatch(ID, str(found["request_id"])) else "",
                _moment(found["deadline"]),
                found["succeeded"] is True,
            )
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return cls(number, 0, written)


@dataclass(frozen=True, slots=True)
class Deliveries:
    """
    The folders of the requests of one intent. All methods that read or write the bucket block.

    :param storage: Where the bucket is.
    :param url: Delivery URL or template of the user's request.
    :param name: Name of the intent, see :func:`name_of`.
    :param formats: Media types of the outputs by identifier.
    """

    storage: Storage
    url: str
    name: str
    formats: Mapping[str, str]

    def folder(self, number: int) -> str:
        """
        Return the URL of the folder of a request.

        :param number: Number of the submission.
        """
        base, _, _ = self.url.partition("<")
        base = base.rpartition("/")[0] if "<" in self.url else self.url.rstrip("/")
        return f"{base}/{self.name}-{number}"

    def delivery_url(self, number: int) -> str:
        """
        Return the delivery URL that the service is given.

        :param number: Number of the submission.
        """
        if "<" not in self.url:
            return self.folder(number)
        base, opening, rest = self.url.partition("<")
        return f"{self.folder(number)}/{base.rpartition('/')[2]}{opening}{rest}"

    def submissions(self) -> list[Submission]:
        """
        Return the submissions of the intent, in order.

        :raises StorageUnavailable: The bucket cannot be read.
        """
        found: list[Submission] = []
        while len(found) < SUBMISSIONS and (next_one := self.submission(len(found) + 1)) is not None:
            found.append(next_one)
        return found

    def submission(self, number: int) -> Submission | None:
        """
        Return a submission; ``None`` if there is none of this number.

        :param number: Its number.
        :raises StorageUnavailable: The bucket cannot be read.
        """
        url = self._note(number)
        try:
            content, meta = self.storage.read_with_meta(url)
        except ArtifactMissing:
            # Somebody may have deleted the note; what the service has written says as much.
            return Submission(number, 0, time.time()) if self.trace(number) else None
        except ArtifactCorrupt:
            return Submission(number, 0, time.time())
        return Submission.read(number, content, meta.last_modified.timestamp())

    def claim(self, number: int, generation: int, deadline: float | None) -> Submission | None:
        """
        Note that a request is about to be sent.

        :param number: Number of the submission.
        :param generation: See :class:`Submission`.
        :param deadline: See :class:`Submission`.
        :returns: The note; ``None`` if somebody else has written one.
        :raises StorageUnavailable: The bucket cannot be read or written.
        """
        if self.submission(number) is not None:
            return None
        note = Submission(number, generation, time.time(), uuid.uuid4().hex, deadline=deadline)
        self.storage.create(_content(note), self._note(number))
        # A store may ignore the condition, and may answer a repeated request as if somebody else had written the note.
        written = self.submission(number)
        return note if written is not None and written.token == note.token else None

    def save(self, submission: Submission) -> Submission:
        """
        Write what is known of a submission.

        :param submission: The submission.
        :raises StorageUnavailable: The bucket cannot be written.
        """
        self.storage.upload(_content(submission), self._note(submission.number))
        return submission

    def withdraw(self, submission: Submission) -> None:
        """
        Delete the note of a request that was certainly not accepted.

        :param submission: The submission.
        :raises StorageUnavailable: The bucket cannot be written.
        """
        self.storage.delete(self._note(submission.number))

    def trace(self, number: int) -> list[str]:
        """
        Return the ids of requests that have left something in the folder.

        :param number: Number of the submission.
        :raises StorageUnavailable: The bucket cannot be read.
        """
        names = (each.url.removeprefix(self.folder(number)) for each in self._objects(number))
        found = {each for name in names for each in _UUID.findall(name)}
        return sorted(found - {*_UUID.findall(self.url)})

    def ended(self, number: int, request_id: str) -> State:
        """
        Return what became of a request that the service does not know any more.

        :param number: Number of the submission.
        :param request_id: Id of the request.
        :raises StorageUnavailable: The bucket cannot be read.
        """
        objects = {each.url: each for each in self._objects(number)}
        urls: dict[str, str] = {}
        for identifier, media_type in self.formats.items():
            expected = self._expected(number, request_id, identifier)
            names = (expected, *(f"{expected}.{each}" for each in _EXTENSIONS.get(media_type, ())))
            if (found := next((name for name in names if name in objects), None)) is not None:
                urls[identifier] = found
        missing = tuple(name for name in self.formats if name not in urls)
        seen = tuple(one_line(each.removeprefix(self.folder(number)).lstrip("/"), 100) for each in objects)[:_SHOWN]
        state = State(Stage.GONE, request_id, urls, missing, seen=seen)
        if not missing:
            others = [each for url, each in objects.items() if url not in urls.values()]
            return replace(state, stage=Stage.DELIVERED, cost_pu=self._cost(others))
        for url, each in objects.items():
            if url.endswith(f"/{ERROR}") and _is_of(url, request_id):
                return replace(state, stage=Stage.FAILED, message=self._message(each))
        return state

    def _note(self, number: int) -> str:
        return f"{self.folder(number)}/{NOTE}"

    def _expected(self, number: int, request_id: str, identifier: str) -> str:
        url = self.delivery_url(number)
        template = url if "<" in url else f"{url}/{REQUEST_ID}/{OUTPUT}"
        return template.replace(REQUEST_ID, request_id).replace(OUTPUT, identifier)

    def _objects(self, number: int) -> Iterator[ObjectMeta]:
        for count, each in enumerate(self.storage.list(f"{self.folder(number)}/")):
            if count == _OBJECTS:
                return
            if not each.url.endswith(f"/{NOTE}"):
                yield each

    def _message(self, error: ObjectMeta) -> str:
        content = self._small(error)
        if content is None:
            return ""
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            return one_line(content.decode("utf-8", "replace"))
        inner = found.get("error", found) if isinstance(found, Mapping) else found
        said = inner.get("message") or inner.get("description") if isinstance(inner, Mapping) else inner
        code = inner.get("code") if isinstance(inner, Mapping) else None
        return one_line(f"{said or json.dumps(found)}{f' ({code})' if isinstance(code, str) and code else ''}")

    def _cost(self, objects: Iterable[ObjectMeta]) -> float | None:
        for each in objects:
            if not each.url.endswith(".json") or each.url.endswith(f"/{ERROR}"):
                continue
            try:
                found = _cost_in(json.loads(self._small(each) or b"null"), 0)
            except (ValueError, RecursionError):
                continue
            if found is not None:
                return found
        return None

    def _small(self, meta: ObjectMeta) -> bytes | None:
        if meta.size > _SMALL_BYTES:
            return None
        try:
            return self.storage.read(meta.url)
        except (ArtifactMissing, ArtifactCorrupt):
            return None


def name_of(intent: Intent) -> str:
    """
    Return the name of an intent, the same in every attempt and after a clear.

    :param intent: The intent.
    """
    tag = replace(intent, generation=0).tag
    return f"airflow-{hashlib.sha256(tag.encode()).hexdigest()[:32]}"


def _moment(given: Any) -> float | None:
    moment = math.nan if given is None else float(given)
    return moment if 0 < moment < _LATEST else None


def _content(submission: Submission) -> bytes:
    about = "An Airflow task has sent an Async Process request that is delivered to this folder, or was about to."
    found = {**asdict(submission), "about": about}
    return json.dumps(found).encode()


def _is_of(url: str, request_id: str) -> bool:
    """Whether an object may be about a request: it names this one, or none."""
    name = url.rpartition("/")[0].rpartition("airflow-")[2]
    return request_id in url or not _UUID.search(name)


def _cost_in(value: Any, depth: int) -> float | None:
    if not isinstance(value, Mapping) or depth == _DEPTH:
        return None
    for name, each in value.items():
        is_cost = re.sub(r"[^a-z]", "", str(name).lower()) in _COSTS
        is_amount = isinstance(each, int | float) and not isinstance(each, bool)
        if is_cost and is_amount and math.isfinite(each) and each >= 0:
            return float(each)
    return next((found for each in value.values() if (found := _cost_in(each, depth + 1)) is not None), None)
