"""A DAG that an asset of new acquisitions starts; each run writes down what it was given."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_provider_sentinelhub.assets import new_acquisitions
from airflow_provider_sentinelhub.triggers import SentinelHubCatalogTrigger

watched = Asset(
    "watched",
    watchers=[
        AssetWatcher(
            name="watched",
            trigger=SentinelHubCatalogTrigger(
                name="watched",
                collection="sentinel-2-l2a",
                bbox=[8.0, 41.0, 10.0, 43.0],
                policy=os.environ.get("WATCHER_POLICY", "first"),
                start=os.environ.get("WATCHER_START", "2026-01-01T00:00:00Z"),
                look_back=timedelta(days=12),
                poll_interval=2,
                batch_size=50,
            ),
        )
    ],
)


@dag(schedule=[watched], max_active_runs=1, is_paused_upon_creation=False)
def take_acquisitions() -> None:
    """Write down what started the run."""

    @task(retries=5, retry_delay=timedelta(seconds=1))
    def take(**context: Any) -> int:
        found = new_acquisitions(context)
        told = {"acquisitions": [[each.acquisition, each.item_id] for each in found], "repeated": found.repeated}
        folder = Path(os.environ["WATCHER_TAKEN"])
        (folder / f"{quote(context['run_id'], safe='')}.json").write_text(json.dumps(told), encoding="utf-8")
        return len(found)

    take()


take_acquisitions()
