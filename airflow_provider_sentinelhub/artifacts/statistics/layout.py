"""
Where the statistics of a task lie: pure rules over strings.

An output URL of Batch Statistical may hold the placeholders ``<REQUEST_ID>``, ``<ID>`` and ``<IDENTIFIER>``. One that
holds none, or only ``<REQUEST_ID>``, is a folder: it stands for ``<url>/<REQUEST_ID>/<ID>.json``. The files of this
package lie in the *root folder*: the URL with ``<REQUEST_ID>`` filled in, cut before the first path segment that still
holds a placeholder. None of them ends in ``.json``: other clients take every such file there for a result.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchStatistical.html (output).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from airflow_provider_sentinelhub.artifacts.storage.location import Location, check_bucket, without_secrets
from airflow_provider_sentinelhub.client.errors import InvalidParameter

REQUEST_ID = "<REQUEST_ID>"
ID = "<ID>"
IDENTIFIER = "<IDENTIFIER>"
PLACEHOLDERS = (REQUEST_ID, ID, IDENTIFIER)

_ALL = ", ".join(PLACEHOLDERS)
_ANY = re.compile(r"<[^<>/]*>")
_KNOWN = re.compile("|".join(PLACEHOLDERS))
_PARTS = re.compile(f"({ID}|{IDENTIFIER})")
_FROM_FIRST_OPEN_SEGMENT = re.compile(r"(^|/)[^/]*<.*$", re.DOTALL)
_FORGIVEN = {
    "<requestid>": REQUEST_ID,
    "<request_id>": REQUEST_ID,
    "<id>": ID,
    "<identifier>": IDENTIFIER,
    "<tilename>": IDENTIFIER,
}


@dataclass(frozen=True, slots=True)
class StatisticsUrl:
    """
    A checked ``output`` URL of Batch Statistical.

    :param scheme: ``s3``.
    :param bucket: Bucket name, with its tenant where it has one.
    :param key: What follows the bucket, placeholders included, without slashes at either end.
    """

    scheme: str
    bucket: str
    key: str

    @classmethod
    def parse(cls, url: str, *, field: str = "output.s3.url") -> StatisticsUrl:
        """
        Check an output URL by the service's rules, before the service is asked.

        :param url: The URL or template.
        :param field: Its path in the request, for the error message.
        :raises InvalidParameter: The service would refuse it, or could not tell the features apart.
        """
        shown = without_secrets(url)
        if not url.startswith("s3://"):
            raise InvalidParameter(field, shown, "must start with s3://", "Write s3://bucket/folder.")
        rest = url.removeprefix("s3://")
        check_bucket(rest.partition("/")[0], field=field, shown=shown)
        _check_placeholders(rest, field=field, shown=shown)
        location = Location.parse(_KNOWN.sub("x", url), field=field, folder=True)
        found = set(_KNOWN.findall(rest))
        if found and not found & {ID, IDENTIFIER}:
            rule = f"a template must hold {ID} or {IDENTIFIER}, or features overwrite each other"
            raise InvalidParameter(field, shown, rule, f"Add {ID}.json.")
        if found and REQUEST_ID not in found:
            # The service allows it. But a feature without a result would be given that of an earlier run.
            rule = f"must hold {REQUEST_ID}, or what another run left there would be taken for answers of this one"
            raise InvalidParameter(field, shown, rule, f"Write e.g. s3://bucket/{REQUEST_ID}/{ID}.json.")
        return cls("s3", location.bucket, rest.partition("/")[2].rstrip("/"))

    @property
    def placeholders(self) -> frozenset[str]:
        """The placeholders it holds."""
        return frozenset(_KNOWN.findall(self.key))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}".rstrip("/")


@dataclass(frozen=True, slots=True)
class ResultName:
    """
    What the name of a result file says.

    :param feature_id: Id of the feature; ``None`` where the template does not hold it.
    :param identifier: Its identifier; ``None`` where the template does not hold it.
    """

    feature_id: int | None
    identifier: str | None


class ResultNames:
    """
    Reads the names of the result files of one task.

    :param url: Output URL or template of the task. ``file:///`` is accepted too, for tests and mirrors.
    :param task_id: Id of the task.
    :raises InvalidParameter: URL or id cannot be used.
    """

    def __init__(self, url: str, task_id: str) -> None:
        seen: set[str] = set()

        def group(found: re.Match[str]) -> str:
            # A placeholder may occur twice; both times it stands for the same.
            name, pattern = ("id", r"-?\d+") if found[0] == ID else ("identifier", ".+?")
            if name in seen:
                return f"(?P={name})"
            seen.add(name)
            return f"(?P<{name}>{pattern})"

        template = settled_output_url(url, task_id)
        parts = _PARTS.split(template)
        pattern = "".join(_KNOWN.sub(group, part) if part in PLACEHOLDERS else re.escape(part) for part in parts)
        self._is_encoded = template.startswith("file:")
        self._matches = re.compile(pattern, re.DOTALL).fullmatch
        # Where an identifier may hold a slash, or names do not end in .json, files of this package look like results.
        # "retries" and "retry" are names that an earlier version gave: its files may still be in the bucket.
        self._is_own = re.compile(
            rf"{re.escape(statistics_root(url, task_id))}/"
            r"(statistics-[^/]+\.(parts|reruns|retries)/|(statistics|report)-[^/]+\.parquet$|(rerun|retry)-[^/]+\.gpkg$|"
            r"success-[^/]+\.txt$)"
        ).match

    def parse(self, url: str) -> ResultName | None:
        """
        Read the name of an object; ``None`` where it is no result of the task.

        :param url: URL of the object.
        """
        found = self._matches(url)
        if found is None or self._is_own(url):
            return None
        values = found.groupdict()
        identifier = values.get("identifier")
        if identifier is not None and self._is_encoded:
            identifier = unquote(identifier)
        return ResultName(int(values["id"]) if "id" in values else None, identifier)


def statistics_root(url: str, task_id: str) -> str:
    """
    Find the folder of the files about a task.

    ``s3://b/f`` gives ``s3://b/f/<id>``, ``s3://b/f/<ID>.json`` gives ``s3://b/f``.

    :param url: Output URL or template.
    :param task_id: Id of the task.
    :returns: The folder, without a trailing slash.
    :raises InvalidParameter: URL or id cannot be used.
    """
    return _FROM_FIRST_OPEN_SEGMENT.sub("", settled_output_url(url, task_id))


def settled_output_url(url: str, task_id: str) -> str:
    """
    Name the places a task writes to as a template in which only the feature is open.

    ``s3://b/f`` gives ``s3://b/f/<task id>/<ID>.json``.

    :param url: Output URL or template.
    :param task_id: Id of the task.
    :raises InvalidParameter: URL or id cannot be used.
    """
    if not task_id or set(task_id) & set("/<>?#"):
        raise InvalidParameter("task_id", task_id, "must be the id of a task", "Pass the id the service gave.")
    scheme, separator, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    if not separator or scheme not in {"s3", "file"} or bool(bucket) == (scheme == "file"):
        raise InvalidParameter("url", without_secrets(url), "must name a bucket", "Write s3://bucket/folder.")
    path = path.strip("/")
    if "<" not in path:
        path = f"{path}/{REQUEST_ID}"
    if not set(_KNOWN.findall(path)) - {REQUEST_ID}:
        path = f"{path}/{ID}.json"
    path = path.replace(REQUEST_ID, task_id).lstrip("/")
    if scheme == "file":
        # As paths on disk are spelled everywhere else: percent-encoded.
        path = "".join(part if part in PLACEHOLDERS else quote(unquote(part)) for part in _PARTS.split(path))
    return f"{scheme}://{bucket}/{path}"


def result_url(url: str, task_id: str, feature_id: int, identifier: str = "") -> str:
    """
    Name the result file of one feature.

    :param url: Output URL or template.
    :param task_id: Id of the task.
    :param feature_id: Id of the feature, its ``fid`` in the input GeoPackage.
    :param identifier: Its identifier, where the template holds it.
    :raises InvalidParameter: URL or id cannot be used.
    """
    is_encoded = url.startswith("file:")
    values = {ID: str(feature_id), IDENTIFIER: quote(identifier) if is_encoded else identifier}
    return _KNOWN.sub(lambda found: values[found[0]], settled_output_url(url, task_id))


def statistics_url(root: str, task_id: str) -> str:
    """
    Name the table of all statistics.

    :param root: Root folder of the task, see :func:`statistics_root`.
    :param task_id: Id of the task.
    """
    return f"{root}/statistics-{task_id}.parquet"


def parts_url(root: str, task_id: str) -> str:
    """
    Name the folder of what was read so far, with which a second read takes only what is new.

    :param root: Root folder of the task.
    :param task_id: Id of the task.
    """
    return f"{root}/statistics-{task_id}.parts"


@dataclass(frozen=True, slots=True)
class StatisticsTarget:
    """
    Where the table goes.

    :param root: Root folder of the original task, see :func:`statistics_root`.
    :param task_id: Id of the original task.
    """

    root: str
    task_id: str

    @property
    def table_url(self) -> str:
        """URL of the table."""
        return statistics_url(self.root, self.task_id)

    @property
    def parts_url(self) -> str:
        """Folder of what was read so far."""
        return parts_url(self.root, self.task_id)

    @property
    def published_url(self) -> str:
        """What the table was made of when it was written last."""
        return f"{self.parts_url}/published"


def rerun_output_url(url: str, task_id: str) -> str:
    """
    Name the places a task that runs failed features again writes to: ``<root>/statistics-<id>.reruns``.

    A retry for some of the intervals must not replace the file that has the others; and all that belongs to a table
    lies in one folder.

    :param url: Output URL or template of the original task.
    :param task_id: Id of the original task.
    :raises InvalidParameter: URL or id cannot be used.
    """
    return f"{statistics_root(url, task_id)}/statistics-{task_id}.reruns/{REQUEST_ID}/{ID}.json"


def _check_placeholders(rest: str, *, field: str, shown: str) -> None:
    if set(_ANY.sub("", rest)) & {"<", ">"}:
        raise InvalidParameter(field, shown, "has a '<' or '>' that is no placeholder", f"Use {_ALL}.")
    for unknown in sorted(set(_ANY.findall(rest)) - set(PLACEHOLDERS)):
        meant = _FORGIVEN.get(unknown.lower())
        fix = f"Write {meant} instead." if meant else f"Use {_ALL}."
        raise InvalidParameter(field, shown, f"{unknown} is not a placeholder the service knows", fix)
