"""Result files as the service writes them, and as it should not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_blob
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import add_layer, finish_layer, new_geopackage
from airflow_provider_sentinelhub.artifacts.statistics.layout import result_url, statistics_root
from airflow_provider_sentinelhub.artifacts.statistics.read import StatisticsTarget, StatisticsTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

TASK = "7f3b98f6-4a9e-4d5d-9d2b-1f6f7a110001"
RERUN = "7f3b98f6-4a9e-4d5d-9d2b-1f6f7a110002"
DAYS = ("2024-05-06", "2024-05-13", "2024-05-20")


def stats(mean: float = 0.5, *, samples: int = 100, no_data: int = 3) -> dict[str, Any]:
    empty = samples == no_data
    values = {"min": mean - 0.25, "max": mean + 0.25, "mean": mean, "stDev": 0.125}
    found: dict[str, Any] = {name: "NaN" if empty else value for name, value in values.items()}
    percentiles = {"25.0": "NaN" if empty else mean - 0.1, "50.0": "NaN" if empty else mean}
    return {**found, "sampleCount": samples, "noDataCount": no_data, "percentiles": percentiles}


def histogram(count: int = 90) -> dict[str, Any]:
    bins = [{"lowEdge": 0.0, "highEdge": 0.5, "count": count}, {"lowEdge": 0.5, "highEdge": 1.0, "count": 7}]
    return {"bins": bins, "underflowCount": 1, "overflowCount": 2}


def interval(day: str) -> dict[str, str]:
    year, month, number = day.split("-")
    return {"from": f"{day}T00:00:00Z", "to": f"{year}-{month}-{int(number) + 7:02d}T00:00:00Z"}


def data(day: str = DAYS[0], mean: float = 0.5, *, bands: Sequence[str] = ("B0",), empty: bool = False) -> Any:
    found = {band: {"stats": stats(mean, no_data=100 if empty else 3), "histogram": histogram()} for band in bands}
    return {"interval": interval(day), "outputs": {"ndvi": {"bands": found}}}


def lost(day: str = DAYS[0], error: Any = None) -> Any:
    return {"interval": interval(day), "error": {"type": "TIMEOUT"} if error is None else error}


def answer(feature: int, entries: Sequence[Any], *, status: str | None = None, identifier: str | None = None) -> Any:
    said = status or ("PARTIAL" if any("error" in entry for entry in entries) else "OK")
    return {
        "id": feature,
        "identifier": identifier or f"parcel-{feature}",
        "response": {"data": list(entries), "status": said},
    }


def failed(feature: int) -> Any:
    return {"id": feature, "identifier": f"parcel-{feature}", "response": {"data": None, "status": "FAILED"}}


def broken(feature: int) -> Any:
    return {"id": feature, "identifier": f"parcel-{feature}", "error": {"type": "EXECUTION_ERROR"}}


def put(storage: Storage, url: str, task_id: str, files: Mapping[int, Any]) -> None:
    for feature, content in files.items():
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        storage.upload(body, result_url(url, task_id, feature, f"parcel-{feature}"))


def tasks_of(url: str, *task_ids: str) -> list[StatisticsTask]:
    return [StatisticsTask(url, task_id) for task_id in task_ids]


def target_of(url: str, task_id: str = TASK) -> StatisticsTarget:
    return StatisticsTarget(statistics_root(url, task_id), task_id)


def square(feature: int, size: float = 100.0) -> tuple[bytes, tuple[float, float, float, float]]:
    import shapely

    west, south = 500_000.0 + feature * 1_000, 5_000_000.0
    box = (west, south, west + size, south + size)
    return geometry_blob(shapely.to_wkb(shapely.box(*box), byte_order=1), 32633, box), box


def write_input(path: Path, features: Sequence[int], *, size: float = 100.0) -> Path:
    with new_geopackage(path) as connection:
        layer = add_layer(connection, 32633)
        for feature in features:
            blob, _ = square(feature, size)
            connection.execute(layer.insert, (feature, f"parcel-{feature}", None, None, None, blob))
        finish_layer(connection, layer, (0, 0, 1, 1))
    return path
