"""
Batch Processing V2: the BYOC collection that results are added to, and whether they fit into it.

Reading a collection costs nothing.

Sources: https://docs.planet.com/develop/apis/batch-processing/ (ingesting results into BYOC) and
https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Byoc.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.lifecycle.collections import collection
from airflow_provider_sentinelhub.client.preflight.formats import COLLECTION_ID, bands_of
from airflow_provider_sentinelhub.client.preflight.outputs import EVALSCRIPT, TIFF, Asked
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json, Lookup, part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.lifecycle.collections import Band, Collection

_SHOWN = 10
# Bits and sample format of a TIFF, by the sample type of an evalscript.
_TYPES = {
    "AUTO": (8, "UINT"),
    "UINT8": (8, "UINT"),
    "INT8": (8, "INT"),
    "UINT16": (16, "UINT"),
    "INT16": (16, "INT"),
    "FLOAT32": (32, "FLOAT"),
}


def lookups(body: Json) -> Iterator[Lookup]:
    """
    Return what a request refers to: the collection that its results are added to, if it names one.

    :param body: A checked request.
    """
    number = part(body, *COLLECTION_ID.split("."))
    if number:
        yield Lookup(COLLECTION_ID, number, collection(number), lambda found: compare(body, found))


def compare(body: Json, found: Collection) -> Iterator[Finding]:
    """
    Find results that the service cannot add to a collection.

    :param body: A checked request.
    :param found: The collection.
    """
    yield from _compare_buckets(body, found)
    asked, has = Asked(body), found.additional_data.bands
    wanted = {name: kind for each in asked.outputs for name, kind in bands_of(each)}
    names = [name for name, kind in asked.formats.items() if kind == TIFF]
    if not has or {each.id for each in asked.outputs if each.bands is not None} < set(names):
        # Its bands become those of the results, or those of the results cannot be read.
        return
    if unknown := [name for name in wanted if name not in has]:
        rule = f"would be bands of the collection, which has only {_listed(has)}"
        yield InvalidParameter(EVALSCRIPT, _listed(unknown), rule, "Name the outputs like the bands of the collection.")
    for name, sample_type in wanted.items():
        if name in has and sample_type in _TYPES and not _fits(has[name], *_TYPES[sample_type]):
            band = has[name]
            rule = f"is that of band {name}, which has {band.bit_depth} bits {band.sample_format or ''}".rstrip()
            fix = f"Write {_sample_type(band)}." if _sample_type(band) else "Write the type of the band."
            yield InvalidParameter(EVALSCRIPT, f"sampleType: {sample_type}", f"{rule} in the collection", fix)
    if missing := [name for name in has if name not in wanted]:
        fact = f"the collection also has the band {_listed(missing)}, which no output writes"
        yield Advice(COLLECTION_ID, fact, "Add an output for it, or use another collection.")


def _compare_buckets(body: Json, found: Collection) -> Iterator[Finding]:
    url = part(body, "output", "delivery", "s3", "url")
    if not isinstance(url, str) or not found.s3_bucket:
        return
    # A bucket may be written with its tenant before it.
    here, there = (name.rpartition(":")[2] for name in (url.partition("://")[2].partition("/")[0], found.s3_bucket))
    if here != there:
        rule = f"is not in the bucket of the collection, {found.s3_bucket}"
        yield InvalidParameter("output.delivery.s3.url", url, rule, "Deliver there, or use another collection.")


def _fits(band: Band, bits: int, sample_format: str) -> bool:
    return band.bit_depth in {None, bits} and band.sample_format in {None, sample_format}


def _sample_type(band: Band) -> str:
    return next((name for name, kind in [*_TYPES.items()][1:] if kind == (band.bit_depth, band.sample_format)), "")


def _listed(names: Any) -> str:
    listed = [*names]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
