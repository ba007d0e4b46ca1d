"""
Where a task's files lie: pure rules over strings.

A delivery URL may hold the placeholders ``<requestId>``, ``<tileName>``, ``<outputId>`` and ``<format>``, and in one
API ``<tileId>``. One without any stands for ``<url>/<requestId>/<tileName>/<outputId>.<format>``. The files about the
task itself lie in the *root folder*: the delivery URL with ``<requestId>`` filled in, cut before the first path segment
that still holds a placeholder.

Source: https://docs.planet.com/develop/apis/batch-processing/ (delivery, feature manifest, execution database); the
root-folder rule is that of the service's own CARD4L tool.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_sentinelhub.artifacts.storage.location import Location, check_bucket, without_secrets
from airflow_provider_sentinelhub.client.errors import InvalidParameter

REQUEST_ID = "<requestId>"
TILE_NAME = "<tileName>"
OUTPUT_ID = "<outputId>"
FORMAT = "<format>"
TILE_ID = "<tileId>"
PLACEHOLDERS = (REQUEST_ID, TILE_NAME, OUTPUT_ID, FORMAT)

_ANY = re.compile(r"<[^<>/]*>")
_KNOWN = re.compile("|".join(PLACEHOLDERS))
_WITH_TILE_ID = re.compile("|".join((*PLACEHOLDERS, TILE_ID)))
_FROM_FIRST_OPEN_SEGMENT = re.compile(r"(^|/)[^/]*<.*$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DeliveryUrl:
    """
    A checked ``output.delivery`` URL.

    :param scheme: ``s3`` or ``gs``.
    :param bucket: Bucket name, with its tenant where it has one.
    :param key: What follows the bucket, placeholders included, without slashes at either end.
    """

    scheme: str
    bucket: str
    key: str

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        field: str = "output.delivery.s3.url",
        outputs: int = 1,
        zarr: bool = False,
        knows_tile_id: bool = False,
    ) -> DeliveryUrl:
        """
        Check a delivery URL by the service's rules, before the service is asked.

        :param url: The URL or template.
        :param field: Its path in the request, for the error message.
        :param outputs: How many outputs each tile has; several need ``<outputId>`` in a template. Default 1.
        :param zarr: Whether a Zarr store is delivered; its path may hold ``<requestId>`` only. Default ``False``.
        :param knows_tile_id: Whether ``<tileId>`` may take the place of ``<tileName>``. Default ``False``.
        :raises InvalidParameter: The service would refuse it, or could not tell the outputs apart.
        """
        shown = without_secrets(url)
        if not url.startswith(("s3://", "gs://")):
            fix = "Write s3://bucket/folder or gs://bucket/folder."
            raise InvalidParameter(field, shown, "must start with s3:// or gs://", fix)
        scheme, _, rest = url.partition("://")
        check_bucket(rest.partition("/")[0], field=field, shown=shown)
        if knows_tile_id:
            url, rest = url.replace(TILE_ID, TILE_NAME), rest.replace(TILE_ID, TILE_NAME)
        placeholders = _placeholders(rest, field=field, shown=shown)
        # Location looks at the rest; what a placeholder becomes cannot break a path.
        location = Location.parse(_KNOWN.sub("x", url), field=field, folder=True)
        _check_template(placeholders, field=field, shown=shown, outputs=outputs, zarr=zarr)
        return cls(scheme, location.bucket, rest.partition("/")[2].rstrip("/"))

    @property
    def placeholders(self) -> frozenset[str]:
        """The placeholders it holds."""
        return frozenset(_KNOWN.findall(self.key))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}".rstrip("/")


def root_folder(url: str, task_id: str) -> str:
    """
    Find the folder of the files about a task.

    ``s3://b/f`` gives ``s3://b/f/<id>``, ``s3://b/f/<tileName>/<outputId>.tif`` gives ``s3://b/f`` and
    ``s3://b/f/<requestId>/<tileName>.tif`` gives ``s3://b/f/<id>``.

    :param url: Delivery URL or template. ``file:///`` is accepted too, for tests and mirrors.
    :param task_id: Id of the task.
    :returns: The folder, without a trailing slash.
    :raises InvalidParameter: URL or id cannot be used.
    """
    _check_task_id(task_id)
    scheme, bucket, path = _split(url)
    if "<" not in path:
        path = f"{path}/{REQUEST_ID}"
    path = _FROM_FIRST_OPEN_SEGMENT.sub("", path.replace(REQUEST_ID, task_id))
    return f"{scheme}://{bucket}/{path.strip('/')}".rstrip("/")


def zarr_url(url: str, task_id: str) -> str:
    """
    Find the Zarr group of a task: it lies at the delivery URL itself.

    ``s3://b/f`` gives ``s3://b/f``, although the files about the task lie in ``s3://b/f/<id>``.

    :param url: Delivery URL of a Zarr; may hold ``<requestId>``.
    :param task_id: Id of the task.
    :raises InvalidParameter: URL or id cannot be used.
    """
    _check_task_id(task_id)
    scheme, bucket, path = _split(url)
    return f"{scheme}://{bucket}/{path.replace(REQUEST_ID, task_id).strip('/')}".rstrip("/")


def request_url(root: str, task_id: str) -> str:
    """
    Name the copy of the request the service leaves.

    :param root: Root folder of the task.
    :param task_id: Id of the task.
    """
    return f"{root}/request-{task_id}.json"


def manifest_url(root: str, task_id: str) -> str:
    """
    Name the feature manifest, a GeoPackage written at the end of the analysis.

    :param root: Root folder of the task.
    :param task_id: Id of the task.
    """
    return f"{root}/featureManifest-{task_id}.gpkg"


def execution_db_url(root: str, task_id: str) -> str:
    """
    Name the execution database, a SQLite file written now and then while the task runs, and at its end.

    :param root: Root folder of the task.
    :param task_id: Id of the task.
    """
    return f"{root}/execution-{task_id}.sqlite"


def report_url(root: str, task_id: str) -> str:
    """
    Name the table of all features this package writes beside the service's files.

    :param root: Root folder of the task.
    :param task_id: Id of the task.
    """
    return f"{root}/report-{task_id}.parquet"


def success_url(root: str, task_id: str) -> str:
    """
    Name the mark of a task or run that an Airflow task has succeeded with.

    :param root: Root folder of the task.
    :param task_id: Id of the task, or of the run.
    """
    return f"{root}/success-{task_id}.txt"


def rerun_features_url(root: str, task_id: str, number: int) -> str:
    """
    Name the GeoPackage of the features of a task that are run again.

    :param root: Root folder of the task.
    :param task_id: Id of the task.
    :param number: Which rerun of it, from 1.
    """
    return f"{root}/rerun-{task_id}-{number}.gpkg"


def settled_delivery_url(url: str, task_id: str) -> str:
    """
    Name the places a task writes to as a template that another task can write by.

    ``s3://b/f`` gives ``s3://b/f/<id>/<tileName>/<outputId>.<format>``, where ``<id>`` is the task's.

    :param url: Delivery URL or template of the task.
    :param task_id: Id of the task.
    :raises InvalidParameter: Template or id cannot be used.
    """
    _check_task_id(task_id)
    scheme, bucket, path = _split(url)
    if "<" not in path:
        path = f"{path}/{REQUEST_ID}"
    if not set(_WITH_TILE_ID.findall(path)) - {REQUEST_ID}:
        path = f"{path}/{TILE_NAME}/{OUTPUT_ID}.{FORMAT}"
    return f"{scheme}://{bucket}/{path.replace(REQUEST_ID, task_id).lstrip('/')}"


def is_shared(url: str) -> bool:
    """
    Return whether several tasks with this delivery URL write to the same places.

    :param url: Delivery URL or template.
    """
    return "<" in url and REQUEST_ID not in url


def output_path(
    template: str, task_id: str, tile_name: str, output_id: str, file_format: str = "tif", *, tile_id: str = ""
) -> str:
    """
    Fill in a delivery URL for one output of one feature.

    A URL that holds no placeholder, or only ``<requestId>``, is a folder and gets the default layout below it.

    :param template: Delivery URL or template.
    :param task_id: Id of the task.
    :param tile_name: Name of the tile, or identifier of the feature.
    :param output_id: Identifier of the output, e.g. ``default``.
    :param file_format: Suffix without dot. Default ``tif``; ``json`` for ``userdata``.
    :param tile_id: Number of the tile, for templates that hold ``<tileId>``.
    :raises InvalidParameter: Template or id cannot be used.
    """
    values = {TILE_NAME: tile_name, OUTPUT_ID: output_id, FORMAT: file_format, TILE_ID: tile_id}
    return _WITH_TILE_ID.sub(lambda found: values[found[0]], settled_delivery_url(template, task_id))


def _split(url: str) -> tuple[str, str, str]:
    scheme, separator, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    if not separator or scheme not in {"s3", "gs", "file"} or bool(bucket) == (scheme == "file"):
        fix = "Write s3://bucket/folder or gs://bucket/folder."
        raise InvalidParameter("url", without_secrets(url), "must name a bucket", fix)
    return scheme, bucket, path.rstrip("/")


def _check_task_id(task_id: str) -> None:
    if not task_id or set(task_id) & set("/<>?#"):
        raise InvalidParameter("task_id", task_id, "must be the id of a task", "Pass the id the service gave.")


def _placeholders(rest: str, *, field: str, shown: str) -> set[str]:
    found = set(_ANY.findall(rest))
    if set(_ANY.sub("", rest)) & {"<", ">"}:
        raise InvalidParameter(field, shown, "has a '<' or '>' that is no placeholder", f"Use {_names(PLACEHOLDERS)}.")
    by_lower = {known.lower(): known for known in PLACEHOLDERS} | {"<tileid>": TILE_NAME, "<identifier>": TILE_NAME}
    for unknown in sorted(found - set(PLACEHOLDERS)):
        meant = by_lower.get(unknown.lower())
        fix = f"Write {meant} instead." if meant else f"Use {_names(PLACEHOLDERS)}."
        rule = "is not a placeholder the service knows"
        if unknown == TILE_ID:
            rule = "is a placeholder that this package does not support, for it finds results by name"
        raise InvalidParameter(field, shown, f"{unknown} {rule}", fix)
    return found


def _check_template(found: set[str], *, field: str, shown: str, outputs: int, zarr: bool) -> None:
    others = found - {REQUEST_ID}
    if zarr and others:
        raise InvalidParameter(
            field, shown, f"a Zarr path may hold {REQUEST_ID} only", f"Remove {_names(sorted(others))}."
        )
    if zarr or not found:
        return
    if TILE_NAME not in found:
        fix = f"Add {TILE_NAME}, or remove {_names(sorted(found))} for the default layout."
        raise InvalidParameter(field, shown, f"a template must hold {TILE_NAME}, or tiles overwrite each other", fix)
    if outputs > 1 and OUTPUT_ID not in found:
        rule = f"with {outputs} outputs a template must hold {OUTPUT_ID}, or outputs overwrite each other"
        raise InvalidParameter(field, shown, rule, f"Add {OUTPUT_ID}.")


def _names(placeholders: tuple[str, ...] | list[str]) -> str:
    return ", ".join(placeholders)
