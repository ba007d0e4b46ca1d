"""Input features by URL: created, checked, and uploaded."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import ArtifactMissing, InvalidParameter, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_sentinelhub.artifacts.features.features import Batch, Columns
    from airflow_provider_sentinelhub.artifacts.features.size import InputSize
    from airflow_provider_sentinelhub.artifacts.features.writer import Size, WrittenGeoPackage
    from airflow_provider_sentinelhub.artifacts.storage.storage import ObjectMeta, Storage
    from airflow_provider_sentinelhub.client.lifecycle.spec import TaskApiSpec

_OPT_OUT = "If the service takes the file as it is, switch this check off with check_features=False."
# A Shapefile consists of several files. The others are optional, but without them attributes and CRS may be missing.
_INDEX = ".shx"
_SHAPEFILE = (_INDEX, ".dbf", ".prj", ".cpg")


@dataclass(frozen=True, slots=True)
class MadeGeoPackage:
    """
    An input GeoPackage in the bucket.

    :param url: Its URL.
    :param features: How many features it has.
    :param layers: EPSG codes of its layers.
    """

    url: str
    features: int
    layers: tuple[int, ...]


def check_input(
    api: TaskApiSpec, storage: Storage, body: Mapping[str, Any], *, identifier_column: str | None = None
) -> InputSize | None:
    """
    Check the GeoPackage that a request names, before anything is sent; a request without one passes.

    The whole file is downloaded and read.

    :param api: The API of the request.
    :param storage: Reads and writes the bucket.
    :param body: The request.
    :param identifier_column: Column with the names of the features, for statistics. Default: ``identifier``.
    :returns: How large the features are together; ``None`` where the request names no GeoPackage.
    :raises InvalidParameter: Everything that is wrong with it, with the names of features.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    from airflow_provider_sentinelhub.artifacts.features.problems import error_of
    from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import MAX_BYTES
    from airflow_provider_sentinelhub.artifacts.results.registry import RESULTS

    url = api.features_url(body)
    if url is None:
        return None
    with tempfile.TemporaryDirectory(prefix="sentinelhub-check-") as folder:
        path = Path(folder) / url.rpartition("/")[2]
        with _naming(f"input.features.{url.partition(':')[0]}.url", url):
            storage.download(url, path, max_bytes=MAX_BYTES)
        if problems := RESULTS[api.key].check_features(path, body):
            raise error_of(path, problems, last=_OPT_OUT)
        RESULTS[api.key].check_names(path, identifier_column)
        return RESULTS[api.key].measure_features(path, body)


def make_input(
    batches: Iterator[Batch],
    url: str,
    *,
    storage: Storage,
    size: Size | None = None,
    repair: bool = False,
    given: str = "source",
) -> tuple[MadeGeoPackage, ...]:
    """
    Write features into GeoPackages, check them, and upload those that pass.

    The same features give the same files, byte by byte.

    :param batches: The features.
    :param url: Where to write, ``s3://``, ``gs://`` or ``file:///``; where there are too many features for one file,
        further ones are ``<name>-2.gpkg``, ``<name>-3.gpkg`` and so on, beside it.
    :param storage: Reads and writes the bucket.
    :param size: Size of features that have none.
    :param repair: Repair what can be repaired. Default: any problem is an error.
    :param given: The parameter the features come from, for messages.
    :returns: The files, in order.
    :raises InvalidParameter: Everything that is wrong with the features, with their names; nothing is uploaded then.
    :raises InvalidConfiguration: A coordinate reference system needs pyproj, which is not installed.
    :raises StorageUnavailable: The bucket cannot be written to, or this machine has no disk space left.
    """
    from airflow_provider_sentinelhub.artifacts.features.writer import write_geopackages
    from airflow_provider_sentinelhub.artifacts.storage.location import Location

    location = Location.parse(url)
    name = location.key.rpartition("/")[2]
    if not name.endswith(".gpkg"):
        raise InvalidParameter("url", url, "must end in .gpkg", "Write e.g. s3://bucket/input/fields.gpkg.")
    with tempfile.TemporaryDirectory(prefix="sentinelhub-features-") as folder:
        written = write_geopackages(batches, Path(folder) / name, size=size)
        if not written:
            raise InvalidParameter(given, 0, "it has no features", "Check the file or the query.")
        if problem := _problem(written):
            if not repair:
                raise problem
            written = _repaired(written, Path(folder), name, size)
        made = []
        for file in written:
            target = location.with_key(location.key.removesuffix(name) + file.path.name)
            with _naming("url", url):
                storage.upload(file.path, str(target))
            made.append(MadeGeoPackage(str(target), file.features, file.layers))
    return tuple(made)


@contextmanager
def _naming(name: str, url: str) -> Iterator[None]:
    """Name the parameter with an object or a bucket that does not exist, which no retry fixes."""
    from airflow_provider_sentinelhub.artifacts.storage.errors import answer_of

    try:
        yield
    except ArtifactMissing:
        raise InvalidParameter(
            name, url, "there is no such object", "Check the path, or create the file first."
        ) from None
    except StorageUnavailable as error:
        if (answer := answer_of(error)) is None or not answer.is_missing_bucket:
            raise
        raise InvalidParameter(
            name, url, "there is no such bucket", "Check its name, and region and endpoint URL of the connection."
        ) from None


def _problem(written: tuple[WrittenGeoPackage, ...]) -> InvalidParameter | None:
    from airflow_provider_sentinelhub.artifacts.features.check import check_geopackage, check_names_across
    from airflow_provider_sentinelhub.artifacts.features.problems import error_of

    for file in written:
        if problems := check_geopackage(file.path):
            return error_of(file.path, problems)
    if len(written) > 1 and (problems := check_names_across([file.path for file in written])):
        return error_of(written[0].path, problems)
    return None


def _repaired(
    written: tuple[WrittenGeoPackage, ...], folder: Path, name: str, size: Size | None
) -> tuple[WrittenGeoPackage, ...]:
    from airflow_provider_sentinelhub.artifacts.features.repair import repair_geopackages

    repaired = folder / "repaired"
    repaired.mkdir()
    return repair_geopackages([file.path for file in written], repaired / name, size=size)


def from_urls(
    urls: Sequence[str],
    *,
    storage: Storage,
    columns: Columns,
    epsg: int | None = None,
    layer: str | None = None,
    close_rings: bool = False,
) -> Iterator[Batch]:
    """
    Read files by URL, one after the other.

    :param urls: ``s3://``, ``gs://``, ``file://``, or absolute paths.
    :param storage: Reads and writes the bucket.
    :param columns: Names of their columns.
    :param epsg: EPSG code of their coordinates, where they declare none; another declared one is an error.
    :param layer: Layer to read of files that have several.
    :param close_rings: Close rings that do not end where they begin. Default: they are an error.
    :raises InvalidParameter: There is no such file, or it cannot be read; or it is in a bucket, and changes of it may
        be missing there.
    :raises StorageUnavailable: A bucket cannot be read, or a file was changed while it was read.
    """
    from airflow_provider_sentinelhub.artifacts.features.sources import from_file

    for given in urls:
        url = _file_url(given)
        with tempfile.TemporaryDirectory(prefix="sentinelhub-source-") as folder:
            path = Path(folder) / url.rpartition("/")[2]
            with _naming("source", given):
                meta = storage.download(url, path)
            if path.suffix.lower() == ".shp":
                _download_shapefile(storage, url[: -len(path.suffix)], path, given)
            else:
                _download_changes(storage, meta, path, given)
            yield from from_file(path, columns=columns, epsg=epsg, layer=layer, close_rings=close_rings)


def _file_url(given: str) -> str:
    from airflow_provider_sentinelhub.artifacts.storage.location import Location

    if "://" not in given and not given.startswith("/"):
        rule = "must be a URL (s3://, gs:// or file:///) or an absolute path"
        raise InvalidParameter("source", given, rule, "Write e.g. s3://bucket/a.gpkg or /folder/a.gpkg.")
    url = Path(given).as_uri() if given.startswith("/") else given
    Location.parse(url, field="source")
    return url


def _download_shapefile(storage: Storage, start: str, path: Path, given: str) -> None:
    """Download the other files of a Shapefile; keys of a bucket are case-sensitive."""
    for suffix in _SHAPEFILE:
        usual = (suffix.upper(), suffix) if path.suffix.isupper() else (suffix, suffix.upper())
        found = any(_download_if_there(storage, start + each, path.with_suffix(each)) for each in usual)
        if suffix == _INDEX and not found:
            raise InvalidParameter(
                "source",
                given,
                f"has no {usual[0]} file, without which it cannot be read",
                f"Put its {usual[0]} file into the same folder.",
            )


def _download_changes(storage: Storage, meta: ObjectMeta, path: Path, given: str) -> None:
    """
    Download what SQLite keeps beside a file until the last program has closed it.

    On a disk, a file without that is complete. Into a bucket, a file may have been copied alone.
    """
    from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import (
        JOURNAL,
        WAL,
        is_in_wal_mode,
        missing_changes,
    )

    is_on_disk = meta.url.startswith("file:")
    if not is_in_wal_mode(path):
        # Not in a bucket: SQLite keeps a journal only while it writes.
        has_more = is_on_disk and _download_if_there(storage, f"{meta.url}{JOURNAL}", Path(f"{path}{JOURNAL}"))
    else:
        has_more = _download_if_there(storage, f"{meta.url}{WAL}", Path(f"{path}{WAL}"))
        if not has_more and not is_on_disk:
            raise missing_changes(given, path.name, "the bucket")
    if has_more and storage.head(meta.url) != meta:
        raise StorageUnavailable(f"{given} was changed while it was read. Close it in the GIS, or try again later.")


def _download_if_there(storage: Storage, url: str, target: Path) -> bool:
    try:
        storage.download(url, target)
    except ArtifactMissing:
        return False
    return True
