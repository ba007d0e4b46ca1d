"""Tasks that the service has deleted, while what they delivered still lies in the bucket."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import NotFound

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

log = logging.getLogger(__name__)

DELETED = "DELETED"


def get_even_deleted(
    hook: SentinelHubBatchHook, task_id: str, delivery_url: str | None, features_url: str | None
) -> BatchTask:
    """
    Read a task; where the service has deleted it, make up what is needed to read its results.

    The service deletes Batch Statistical tasks without activity: CREATED ones after 7 days, FAILED ones after 15,
    others after 30. What lies in the bucket stays.

    Source: https://docs.planet.com/develop/apis/batch-statistical/

    :param hook: Asks the service.
    :param task_id: Id of the task.
    :param delivery_url: Where it delivered to: ``output.s3.url`` of its request.
    :param features_url: Its features: ``input.features.s3.url`` of its request.
    :returns: The task; one that was deleted has the status DELETED.
    :raises NotFound: It was deleted, or never was, and nobody said where its results lie.
    """
    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask

    try:
        return hook.get(task_id)
    except NotFound as e:
        if delivery_url is None:
            raise NotFound(
                f"{e}\nThe service deletes such tasks without activity: CREATED ones after 7 days, FAILED ones after "
                "15, others after 30. What was delivered stays in the bucket: give its delivery_url, and the "
                "features_url of its GeoPackage, and it is read from there.",
                status=e.status,
                code=e.code,
            ) from None
        log.warning("The service does not know task %s, and may have deleted it: looking at %s", task_id, delivery_url)
        features = {"features": {"s3": {"url": features_url}}} if features_url else {}
        return BatchTask(
            id=task_id, status=DELETED, request={"input": features, "output": {"s3": {"url": delivery_url}}}
        )
