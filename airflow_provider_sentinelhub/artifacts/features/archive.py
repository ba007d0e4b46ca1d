"""Zip files with features in them, wherever in the zip they are."""

from __future__ import annotations

import errno
import lzma
import shutil
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.features.features import KINDS
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import MAX_BYTES
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import companions, is_in_wal_mode, missing_changes
from airflow_provider_sentinelhub.client.errors import InvalidParameter, StorageUnavailable
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

_FEATURES = (
    ".shp",
    ".gpkg",
    ".parquet",
    ".geoparquet",
    ".geojson",
    ".geojsonl",
    ".fgb",
    ".gml",
    ".kml",
    ".tab",
    ".mif",
)
# Beside one of those they describe it.
_MAYBE_FEATURES = (".json", ".csv")
# A name that no file may have here, and a place before the start of the zip.
_OF_THE_ZIP = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
_SHOWN = 5
_MOST = 1_000


@contextmanager
def unpacked(path: Path, layer: str | None) -> Iterator[list[tuple[Path, str | None]]]:
    """
    Unpack the files with features, and what belongs to them, into a temporary folder.

    :param path: The zip.
    :param layer: Layer to read: of a file, or the name of one of several files. ``None`` for all.
    :returns: The files, each with the layer to read of it; none where no file with features is known by its suffix.
    :raises InvalidParameter: It cannot be read, unpacks to too much, has files of several kinds, or changes of a
        GeoPackage may be missing.
    :raises StorageUnavailable: This machine has no room to unpack it.
    """
    with tempfile.TemporaryDirectory(prefix="sentinelhub-zip-") as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                belonging = _by_name(archive)
                found = [
                    (_belonging(belonging[_stem(entry)], entry), chosen)
                    for entry, chosen in _features(archive, path, layer)
                ]
                _check_room(path, sum(each.file_size for entries, _ in found for each in entries), Path(folder))
                files = [
                    (_unpack(archive, entries, Path(folder) / str(number)), chosen)
                    for number, (entries, chosen) in enumerate(found)
                ]
        except OSError as error:
            # The machine's errors have a number. Without one it is bz2 that cannot read its data.
            if error.errno not in {None, *_OF_THE_ZIP}:
                raise
            raise _not_unpacked(path, error) from error
        except (lzma.LZMAError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, UnicodeDecodeError) as error:
            raise _not_unpacked(path, error) from error
        for file, _ in files:
            if is_in_wal_mode(file) and not companions(file):
                raise missing_changes(path.name, file.name, "the zip")
        yield files


def _features(archive: zipfile.ZipFile, path: Path, layer: str | None) -> list[tuple[str, str | None]]:
    entries = [entry for entry in archive.namelist() if not _is_of_macos(entry)]
    found = sorted(entry for entry in entries if _suffix(entry) in _FEATURES) or sorted(
        entry for entry in entries if _suffix(entry) in _MAYBE_FEATURES
    )
    if len(found) > _MOST:
        rule = f"has {len(found):,} files with features, and at most {_MOST} are read"
        raise InvalidParameter("source", path.name, rule, "Put the features into one file.")
    if named := [entry for entry in found if PurePosixPath(entry).stem == layer]:
        # A Shapefile's only layer has its name; other formats name their layers otherwise.
        found, layer = named, layer if _suffix(named[0]) == ".shp" else None
    if len({_suffix(entry) for entry in found}) > 1 or (layer is not None and not named and len(found) > 1):
        shown = ", ".join(one_line(entry) for entry in found[:_SHOWN])
        rule = f"has several files with features: {shown}"
        raise InvalidParameter("source", path.name, rule, "Leave one in, or name one with layer='...'.")
    return [(entry, layer) for entry in found]


def _is_of_macos(entry: str) -> bool:
    parts = PurePosixPath(entry).parts
    return "__MACOSX" in parts or entry.endswith("/") or (bool(parts) and parts[-1].startswith("._"))


def _suffix(entry: str) -> str:
    return PurePosixPath(entry).suffix.lower()


def _stem(entry: str) -> str:
    return entry.removesuffix(PurePosixPath(entry).suffix)


def _by_name(archive: zipfile.ZipFile) -> dict[str, list[zipfile.ZipInfo]]:
    """Return all files, by their names without what follows the last dot."""
    found: dict[str, list[zipfile.ZipInfo]] = {}
    for each in archive.infolist():
        if not each.filename.endswith("/") and _suffix(each.filename):
            found.setdefault(_stem(each.filename), []).append(each)
    return found


def _belonging(beside: list[zipfile.ZipInfo], entry: str) -> list[zipfile.ZipInfo]:
    """Return a file, and then those beside it that are called the same."""
    return sorted(beside, key=lambda each: each.filename != entry)


def _not_unpacked(path: Path, error: Exception) -> InvalidParameter:
    rule = f"cannot be unpacked ({one_line(error)})"
    has_long_name = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
    fix = "Pack it again, with shorter names." if has_long_name else "Pack it again, without a password."
    return InvalidParameter("source", path.name, rule, fix)


def _check_room(path: Path, size: int, folder: Path) -> None:
    if size > MAX_BYTES:
        rule = f"unpacks to {size:,} bytes, and at most {MAX_BYTES:,} are read"
        raise InvalidParameter("source", path.name, rule, f"Split it. Kinds that can be read: {KINDS}.")
    if size > shutil.disk_usage(folder).free:
        raise StorageUnavailable(f"Could not unpack {path.name}: it needs {size:,} bytes on this worker. Free space.")


def _unpack(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], folder: Path) -> Path:
    folder.mkdir()
    for each in entries:
        # zipfile reads no more of an entry than the size it declares.
        with archive.open(each) as packed, (folder / PurePosixPath(each.filename).name).open("wb") as file:
            shutil.copyfileobj(packed, file)
    return folder / PurePosixPath(entries[0].filename).name
