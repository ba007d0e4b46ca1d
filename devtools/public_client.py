"""Batch statistics of the public client, sentinelhub, unchanged, on the simulator."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_sentinelhub.simulator.process import Simulator
    from airflow_provider_sentinelhub.simulator.ready import Ready

Json = dict[str, Any]
PATIENCE = 120
"""How often the monitor may poll a stopped task before it is interrupted: an hour at its own interval."""


class StillWaitingError(Exception):
    """The monitor continues although the task was stopped long ago."""


@dataclass(frozen=True, slots=True)
class Task:
    """
    A task of the public client's.

    :param id: Its id.
    :param url: Folder its output goes to.
    :param handle: The client's object for it.
    """

    id: str
    url: str
    handle: Any


class PublicClient:
    """
    The public client, unchanged, on the simulator.

    :param sim: The simulator.
    """

    def __init__(self, sim: Simulator) -> None:
        from sentinelhub.api.batch.statistical import SentinelHubBatchStatistical
        from sentinelhub.download.sentinelhub_client import SentinelHubDownloadClient

        # It caches tokens for the whole process, also those of an earlier simulator.
        SentinelHubDownloadClient.clear_cache()
        self.sim = sim
        self.config = _config(sim.ready)
        self.client = SentinelHubBatchStatistical(self.config)

    def start(self, body: Json) -> Task:
        """
        Create a task and start it.

        :param body: The request.
        """
        created = self.client.create(
            input_features=body["input"]["features"],
            input_data=body["input"]["data"],
            aggregation=body["aggregation"],
            calculations=body["calculations"],
            output=body["output"],
        )
        self.client.start_job(created)
        return Task(created.request_id, body["output"]["s3"]["url"], created)

    def monitor(self, task: Task) -> Json:
        """
        Let the client wait for a task, in simulated time.

        :param task: The task.
        :raises StillWaitingError: It continues although the task was stopped.
        """
        from sentinelhub.api.batch import utils

        looks = 0

        def sleep(seconds: float) -> None:
            nonlocal looks
            self.sim.advance_clock(seconds)
            looks += self.sim.task(task.id)["status"] == "STOPPED"
            if looks > PATIENCE:
                raise StillWaitingError(f"looked {PATIENCE} times at a task that was STOPPED")

        with patch.object(utils, "time", SimpleNamespace(sleep=sleep)):
            status: Json = utils.monitor_batch_statistical_job(task.handle, config=self.config)
        return status

    def finish(self, task: Task) -> None:
        """
        Wait for the end of a task: the monitor returns at 100 %, before the task is DONE.

        :param task: The task.
        """
        deadline = time.monotonic() + 60
        while self.sim.task(task.id)["status"] != "DONE":
            if time.monotonic() > deadline:
                raise StillWaitingError("the task is not DONE after a minute")
            time.sleep(0.05)

    def download(self, task: Task, ids: Sequence[int] | None = None) -> list[Json]:
        """
        Return results as the client reads them.

        :param task: The task.
        :param ids: Ids of the features. Default: all.
        """
        from sentinelhub.aws.batch import AwsBatchStatisticalResults

        files: list[Json] = AwsBatchStatisticalResults(task.handle, feature_ids=ids, config=self.config).get_data()
        return files


def frame_of(files: Sequence[Json]) -> Any:
    """
    Return the public client's data frame.

    :param files: What it downloaded.
    """
    from sentinelhub.data_utils import statistical_to_dataframe

    return statistical_to_dataframe(list(files))


def environment(ready: Ready) -> dict[str, str]:
    """
    Return the environment of the public client: plain HTTP is allowed, and the address of S3.

    :param ready: The simulator.
    """
    return {
        "OAUTHLIB_INSECURE_TRANSPORT": "1",
        "AWS_ENDPOINT_URL_S3": ready.s3_endpoint,
        "AWS_DEFAULT_REGION": ready.region,
    }


def _config(ready: Ready) -> Any:
    from sentinelhub.config import SHConfig

    config = SHConfig(use_defaults=True)
    config.sh_base_url = ready.base_url
    config.sh_token_url = ready.token_url
    config.sh_client_id = ready.client_id
    config.sh_client_secret = ready.client_secret
    config.aws_access_key_id = ready.access_key_id
    config.aws_secret_access_key = ready.secret_access_key
    return config
