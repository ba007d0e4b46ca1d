"""The failed features of a report as a short list, e.g. to map a follow-up task over them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.report.causes import cause_of
from airflow_provider_sentinelhub.artifacts.report.messages import without_name
from airflow_provider_sentinelhub.artifacts.report.report import FeatureOutcome
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, InvalidParameter
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

DEFAULT_LIMIT = 1000
"""Airflow maps a task over 1,024 values at most, unless ``[core] max_map_length`` says otherwise."""

_COLUMNS = ["outcome", "name", "error", "epsg", "geometry", "width", "height"]
_MAX_ERROR = 200
_MANY_GROUPS = 3


def failed_features(
    storage: Storage,
    report_url: str,
    *,
    limit: int = DEFAULT_LIMIT,
    outcomes: Collection[str] = (FeatureOutcome.FAILED,),
) -> list[dict[str, Any]]:
    """
    List features of a report that failed, in order of name, as plain JSON values.

    Of the table only the outcomes are read, and the rest where there are features to list.

    :param storage: Where the bucket is.
    :param report_url: The report's ``report_url``.
    :param limit: How many at most. Default 1,000.
    :param outcomes: Which outcomes to list. Default: ``FAILED``.
    :returns: For each ``name``, ``outcome``, ``error`` (its first 200 characters) and its ``kind``, see
        :mod:`~.causes`; ``epsg``, ``bbox`` (west, south, east, north in that system), ``width`` and ``height`` in
        pixels, ``None`` where there was no manifest.
    :raises ArtifactMissing: There is no such table.
    :raises ArtifactCorrupt: It is not one of this package's tables.
    :raises InvalidParameter: There is no URL, the limit is not positive, or there is no such outcome.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not report_url or not isinstance(report_url, str):
        raise InvalidParameter(
            "report_url",
            report_url,
            "must be the URL of a report's table",
            "Give the report_url of a task's result; it is None where no report was written.",
        )
    if limit < 1:
        raise InvalidParameter("limit", limit, "must be 1 or more", "Leave it out for 1,000.")
    unknown = sorted(set(outcomes) - set(FeatureOutcome))
    if unknown:
        raise InvalidParameter(
            "outcomes", unknown, f"must be among {', '.join(FeatureOutcome)}", "Correct the spelling."
        )
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="sentinelhub-failed-") as folder:
        path = Path(folder) / "report.parquet"
        storage.download(report_url, path)
        try:
            with pq.ParquetFile(path) as table:
                for rows in _matching(table, pa.array(sorted(outcomes), pa.string())):
                    found += _described(rows.slice(0, limit - len(found)))
                    if len(found) == limit:
                        break
        except (pa.ArrowException, KeyError) as error:
            raise ArtifactCorrupt(
                f"{report_url} is not a usable report: {one_line(error)}. Give the report_url of a task's result."
            ) from error
    return found


def _matching(table: pq.ParquetFile, outcomes: pa.Array) -> Iterator[pa.Table]:
    import pyarrow.compute as pc

    # A row group is so small that threads would cost more than they save.
    in_a_row = 0
    for group in range(table.num_row_groups):
        # Where several groups in a row have some, the next one likely has: then it is read at once.
        at_once = in_a_row >= _MANY_GROUPS
        rows = table.read_row_group(group, columns=_COLUMNS if at_once else ["outcome"], use_threads=False)
        mask = pc.is_in(rows["outcome"], value_set=outcomes)
        in_a_row = in_a_row + 1 if pc.any(mask).as_py() else 0
        if in_a_row:
            if not at_once:
                rows = table.read_row_group(group, columns=_COLUMNS, use_threads=False)
            yield rows.filter(mask)


def _described(rows: pa.Table) -> Iterator[dict[str, Any]]:
    import shapely

    # "fix" closes rings that are open; what is not even WKB becomes None.
    bounds = shapely.bounds(shapely.from_wkb(rows["geometry"].to_pylist(), on_invalid="fix")).tolist()
    for row, box in zip(rows.drop_columns(["geometry"]).to_pylist(), bounds, strict=True):
        name, error = row["name"], row["error"]
        yield {
            "name": name,
            "outcome": row["outcome"],
            "error": None if error is None else one_line(error, _MAX_ERROR),
            # As in a report's groups; and a message that differs in the name only is judged once.
            "kind": cause_of(without_name(error, name) if error else None).kind.value,
            "epsg": row["epsg"],
            # An outline that is missing, empty or broken has NaN as bounds.
            "bbox": box if all(edge == edge for edge in box) else None,  # noqa: PLR0124
            "width": row["width"],
            "height": row["height"],
        }
