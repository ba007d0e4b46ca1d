"""
Zarr groups, opened with xarray: nothing but metadata and coordinates is read until values are needed.

Needs ``xarray`` and ``zarr``, from the extra ``zarr``. They read through the same connections as everything else here.

Source: https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.artifacts.storage.location import Location
from airflow_provider_sentinelhub.artifacts.storage.object_stores import open_store
from airflow_provider_sentinelhub.client.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    InvalidConfiguration,
    InvalidParameter,
)
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray
    import zarr

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

MAX_METADATA_BYTES: Final = 64 * 1024**2
MAX_COORDINATE_BYTES: Final = 256 * 1024**2
"""Coordinates are read when a group is opened. Those of the Earth at 10 m have 64 MB in all."""
MAX_CHUNK_BYTES: Final = 2 * 1024**3
"""What is read at once: more than the compressors of format 2 take."""
_METADATA: Final = (".zmetadata", ".zgroup")
_UP, _ACROSS = ("y", "lat"), ("x", "lon")


def open_group(storage: Storage, url: str) -> xarray.Dataset:
    """
    Open a Zarr group as an ``xarray.Dataset``, whose values are read when they are used.

    Values are read in this process, without Dask. Pixels with the fill value are NaN.

    :param storage: How the bucket is reached.
    :param url: The folder of the group: ``s3://``, ``gs://`` or ``file://``.
    :raises InvalidConfiguration: The extra ``zarr`` is not installed.
    :raises ArtifactMissing: There is no group.
    :raises ArtifactCorrupt: It is not one that can be read within bounds.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    try:
        import xarray
        import zarr
        from zarr.storage import ObjectStore, StorePath
    except ImportError as error:
        raise InvalidConfiguration(
            f"To open a Zarr, xarray and zarr are needed ({one_line(error)}). Install them with: "
            "pip install 'airflow-provider-sentinelhub[zarr]'"
        ) from error
    location = Location.parse(url, folder=True)
    is_consolidated = _is_consolidated(storage, location)
    bucket = open_store(location.scheme, location.bucket, storage.options_for(location.scheme))
    folder: Any = StorePath(ObjectStore(bucket, read_only=True), location.key)
    with _explaining(location):
        _check_arrays(zarr.open_group(folder, mode="r"), location)
        # Without chunks nothing asks for Dask, and values are read when they are used all the same.
        opened: xarray.Dataset = xarray.open_zarr(folder, chunks=None, consolidated=is_consolidated)
    return opened


def within(group: xarray.Dataset, box: tuple[float, float, float, float]) -> xarray.Dataset:
    """
    Return the part of a group whose pixels have their centres in a box.

    :param group: The group.
    :param box: West, south, east and north, in the coordinates of the group.
    :raises InvalidParameter: The group has no coordinates of pixels.
    """
    west, south, east, north = box
    chosen = {}
    for names, low, high in ((_ACROSS, west, east), (_UP, south, north)):
        name = next((each for each in names if each in group.indexes), None)
        if name is None:
            rule = f"has none of the coordinates {', '.join(names)}"
            raise InvalidParameter("group", list(group.sizes), rule, "Give a group that Batch Processing has written.")
        is_upwards = bool(group.indexes[name].is_monotonic_increasing)
        chosen[name] = slice(low, high) if is_upwards else slice(high, low)
    return group.sel(chosen)


def _is_consolidated(storage: Storage, location: Location) -> bool:
    """Say whether one file has all metadata of a group; an error if there is no group."""
    for name in _METADATA:
        try:
            meta = storage.head(f"{location}/{name}")
        except ArtifactMissing:
            continue
        if meta.size > MAX_METADATA_BYTES:
            raise _unusable(location, f"its metadata has {meta.size:,} bytes")
        return name == _METADATA[0]
    raise ArtifactMissing(
        f"There is no Zarr group at {location}. A batch writes one if its output has the type zarr, at the end of its "
        "analysis."
    )


def _check_arrays(group: zarr.Group, location: Location) -> None:
    for name, array in group.arrays():
        whole, chunk = (_bytes(sides, array.dtype.itemsize) for sides in (array.shape, array.chunks))
        if array.ndim == 1 and max(whole, chunk) > MAX_COORDINATE_BYTES:
            raise _unusable(location, f"the coordinate {one_line(name)} has {max(whole, chunk):,} bytes")
        if chunk > MAX_CHUNK_BYTES:
            raise _unusable(location, f"a chunk of {one_line(name)} has {chunk:,} bytes")


def _bytes(sides: tuple[int, ...], item: int) -> int:
    count = item
    for side in sides:
        count *= side
    return count


def _unusable(location: Location, why: str) -> ArtifactCorrupt:
    return ArtifactCorrupt(f"{location} is not a Zarr group that can be opened: {why}. Check what wrote it.")


@contextmanager
def _explaining(location: Location) -> Iterator[None]:
    """Say in our own errors what a group of any content makes the libraries raise."""
    from obstore.exceptions import BaseError

    from airflow_provider_sentinelhub.artifacts.storage.errors import StorageAnswer, storage_unavailable

    try:
        yield
    except ArtifactCorrupt:
        raise
    except BaseError as error:
        raise storage_unavailable("read", location, error) from StorageAnswer.of(error)
    except (ValueError, TypeError, KeyError, OSError, AttributeError, OverflowError) as error:
        raise _unusable(location, one_line(error) or type(error).__name__) from error
