"""The asynchronous APIs for people who write Python tasks, and for the operators: obtain, act, wait, stop, report."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidRequest
from airflow_provider_sentinelhub.hooks import checks, credentials
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

    from airflow_provider_sentinelhub.artifacts.features.size import InputSize
    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport
    from airflow_provider_sentinelhub.artifacts.results.base import BatchResults
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.costs.estimate import Estimate
    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask
    from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
    from airflow_provider_sentinelhub.client.lifecycle.spec import Goal, TaskApiSpec
    from airflow_provider_sentinelhub.client.lifecycle.submission import Before, Search
    from airflow_provider_sentinelhub.client.lifecycle.watch import Watch


class SentinelHubBatchHook(SentinelHubHook):
    """
    Works with the tasks of one asynchronous API.

    :param api: Key of the API, e.g. ``batch-v2``.
    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param aws_conn_id: The AWS connection: its role or keys are handed to the service with each new task, and used
        here to read and write the bucket.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage.
    :raises InvalidParameter: There is no such API.
    """

    def __init__(
        self,
        api: str = "batch-v2",
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS

        super().__init__(sentinelhub_conn_id, **kwargs)
        checks.one_of("api", api, tuple(TASK_APIS))
        self.api: TaskApiSpec = TASK_APIS[api]
        """The API."""
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self.measured: dict[str, InputSize] = {}
        """Features that were read, by the URL of their GeoPackage."""
        self._is_acting = False

    def get(self, task_id: str) -> BatchTask:
        """
        Read a task.

        :param task_id: Its id.
        :raises NotFound: There is none.
        """
        checks.id_of("batch_task_id", task_id, "batch task")
        return self.send(self.api.calls.get(task_id))

    def prepare(self, request: Any) -> dict[str, Any]:
        """
        Check a request before anything is sent, and return the JSON to send, without credentials.

        Asks nobody. What is worth knowing is logged.

        :param request: The service's own request as a dict, or as JSON text.
        :raises InvalidParameter: Names each field that is wrong, its value, its rule and its fix.
        """
        from airflow_provider_sentinelhub.hooks.preflight import check_request

        return check_request(self.api, request, self.address.deployment)

    def check_buckets(self, body: Mapping[str, Any]) -> None:
        """
        Ask the buckets of a request whether they are there, take results and hold the features.

        :param body: What :meth:`prepare` returned.
        :raises InvalidParameter: Names each bucket that said no, what it said, and what to do.
        :raises StorageUnavailable: A bucket could not be asked; that may pass.
        """
        from airflow_provider_sentinelhub.hooks.preflight import check_buckets

        check_buckets(self, body)

    def check_features(self, body: Mapping[str, Any]) -> None:
        """
        Read the GeoPackage a request names as its input, if it names one, and refuse what the service would refuse.

        How many features there are, how large they are together and where they lie is logged.

        :param body: What :meth:`prepare` returned.
        :raises InvalidParameter: Everything that is wrong with it, with the names of features.
        :raises StorageUnavailable: The bucket cannot be read.
        """
        from airflow_provider_sentinelhub.hooks.input_features import Buckets, check_input
        from airflow_provider_sentinelhub.hooks.preflight import tell_size

        measured = check_input(self.api, Buckets(self.aws_conn_id, self.gcp_conn_id), body)
        if measured is not None:
            tell_size(body, measured)
            self.measured[str(self.api.features_url(body))] = measured

    def with_credentials(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """
        Return a copy of a request with the credentials of the connections in it, and those credentials.

        :param body: What :meth:`prepare` returned.
        :raises InvalidConfiguration: A connection is missing or holds nothing that the service could use.
        """
        return credentials.with_credentials(self.api, body, self.aws_conn_id, self.gcp_conn_id, self.address.deployment)

    def with_script(self, request: Any) -> Any:
        """
        Return a request with the evalscript that it refers to; others are returned as they are.

        :param request: The service's own request, as a dict.
        :raises InvalidParameter: The script is not there.
        :raises StorageUnavailable: The bucket cannot be read.
        """
        from airflow_provider_sentinelhub.artifacts.storage import evalscripts

        url = evalscripts.referred_script(self.api, request)
        return request if url is None else evalscripts.with_script(self.api, self.storage, request, url)

    def with_script_placed(self, body: Mapping[str, Any], intent: Intent) -> Mapping[str, Any]:
        """
        Return a request as it can be sent; an evalscript that is too long for it is written to the bucket.

        :param body: What :meth:`prepare` returned.
        :param intent: What it is wanted for.
        :raises StorageUnavailable: The bucket cannot be written.
        """
        from airflow_provider_sentinelhub.artifacts.storage.evalscripts import placed_script

        placed = placed_script(self.api, body, intent.tag, self.api.delivery_url(body))
        if placed is None:
            return body
        self.storage.upload(placed.text, placed.url)
        return placed.body

    def search(
        self,
        intent: Intent,
        *,
        recorded: str | None,
        before: Before | None = None,
        since: datetime,
        resumes: Callable[[BatchTask], bool] | None = None,
        adopt_ended: bool = True,
    ) -> Search:
        """
        Look for the one task of an intent; where there is none, older ones are stopped.

        :param intent: What is wanted, by whom.
        :param recorded: Id of the task an earlier attempt recorded for this intent.
        :param before: What is on record of what this task instance wanted before it was cleared or its request changed.
        :param since: Moment before which no task of this task instance can have been created.
        :param resumes: Asked, where only an older task for the same request is found, whether to continue with that
            one. Default: never.
        :param adopt_ended: Whether a task that has ended can be that of this intent: not of one that is new.
        """
        from airflow_provider_sentinelhub.client.lifecycle.submission import Before, nothing_older, search

        return self.sender.run(
            search(
                self.api,
                intent,
                recorded=recorded,
                before=before or Before(),
                since=since,
                resumes=resumes or nothing_older,
                adopt_ended=adopt_ended,
            )
        )

    def create(
        self, intent: Intent, body: Mapping[str, Any], *, since: datetime, others: frozenset[str] = frozenset()
    ) -> BatchTask:
        """
        Create the task of an intent, which :meth:`search` did not find.

        :param intent: What is wanted, by whom.
        :param body: What :meth:`prepare` returned.
        :param since: Moment before which no task of this task instance can have been created.
        :param others: What the search found that is not it.
        """
        from airflow_provider_sentinelhub.client.lifecycle.submission import create

        body = self.with_script_placed(body, intent)
        complete, secrets = self.with_credentials(body)
        try:
            return self.sender.run(create(self.api, intent, complete, secrets, since=since, others=others))
        except InvalidRequest as e:
            raise credentials.explained(e, self.aws_conn_id, self.gcp_conn_id) from None

    def reruns_of(self, original: BatchTask) -> list[BatchTask]:
        """
        Return the tasks that ran failed features of a task again, in the order in which they were created.

        :param original: The task.
        """
        from airflow_provider_sentinelhub.client.lifecycle.submission import reruns_of

        return self.sender.run(reruns_of(self.api, original))

    def act(self, task: BatchTask, goal: Goal) -> BatchTask:
        """
        Take the steps a task needs now, if any; harmless when somebody else took them already.

        :param task: The task as last seen.
        :param goal: What is wanted of it.
        """
        from airflow_provider_sentinelhub.client.lifecycle.procedures import act

        self._is_acting = True
        task = self.sender.run(act(self.api, task, goal))
        # Not where anything was raised, an interruption above all: what was sent may still arrive.
        self._is_acting = False
        return task

    def stop(self, task_id: str) -> BatchTask | None:
        """
        Stop a task; an ended one, one that was never started and one that is gone need no stopping.

        :param task_id: Its id.
        """
        from airflow_provider_sentinelhub.client.lifecycle.procedures import stop

        checks.id_of("batch_task_id", task_id, "batch task")
        return self.sender.run(stop(self.api, task_id, action_on_its_way=self._is_acting))

    def wait(self, task: BatchTask, goal: Goal, watch: Watch) -> BatchTask:
        """
        Take the steps a task needs and wait, blocking, until it needs nothing more, is late or over budget.

        :param task: The task as last seen.
        :param goal: What is wanted of it.
        :param watch: How often to look, how long, and what it may cost.
        :raises ApiError: A step was refused, or looking failed for so long that waiting on makes no sense.
        """
        from airflow_provider_sentinelhub.client.errors import ApiError
        from airflow_provider_sentinelhub.client.lifecycle.spec import NextStep

        just_read: BatchTask | None = task
        while True:
            try:
                task = self.act(just_read or self.get(task.id), goal)
            except ApiError as e:
                if line := watch.missed(e):
                    self.log.warning(line)
                if e.refuses_action or watch.is_lost:
                    raise
            else:
                if line := watch.saw(task):
                    self.log.info(line)
                if self.api.next_step(task, goal) is NextStep.FINISH or watch.is_over_budget(task):
                    return task
            # After the look, so that a task which ended in time is never called late.
            if watch.is_late:
                return task
            just_read = None
            time.sleep(watch.pause())

    @cached_property
    def storage(self) -> Storage:
        """The bucket, with the credentials of the connections."""
        from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
        from airflow_provider_sentinelhub.hooks import connections

        if self.gcp_conn_id is not None:
            facts = connections.ConnectionFacts.read(self.gcp_conn_id)
            return Storage(connections.gcs_storage_options(facts))
        facts = connections.ConnectionFacts.read(credentials.needed(self.aws_conn_id, "aws_conn_id"))
        return Storage(connections.aws_storage_options(facts))

    @cached_property
    def results(self) -> BatchResults:
        """What the API's tasks leave in the bucket."""
        from airflow_provider_sentinelhub.artifacts.results.registry import results_of

        return results_of(self.api, self.storage)

    def report(self, task: BatchTask, reruns: Sequence[BatchTask] = ()) -> FeatureReport:
        """
        Read what became of every feature, and write the full table as Parquet beside the results.

        :param task: The task.
        :param reruns: The tasks that ran again what it lost, in the order in which they ran: the report is that of
            all of them.
        :raises ArtifactMissing: There is nothing to report on.
        :raises ArtifactCorrupt: It cannot be read.
        """
        return self.results.report((task, *reruns))

    def request_for_failed(
        self, tasks: Sequence[BatchTask], body: Mapping[str, Any], *, only_after_progress: bool
    ) -> dict[str, Any] | None:
        """
        Return the request that runs again what a task lost; ``None`` where there is nothing to gain by it.

        The features are written into the bucket for it. The same tasks give the same request.

        :param tasks: The original task, then those that ran again what was lost.
        :param body: The request the original was created with.
        :param only_after_progress: Whether the last task must have mended something, or no further one makes sense.
        :raises ArtifactMissing: What lies in the bucket is older than the task's end.
        :raises StorageUnavailable: The bucket cannot be read or written.
        """
        from airflow_provider_sentinelhub.client.costs.estimate import MINIMUM_PU

        rerun = self.results.prepare_rerun(tasks, only_after_progress=only_after_progress)
        if rerun is None:
            return None
        self.log.info(
            "Features that are run again, alone: %d, for %g PU or more. The tasks before cost %.1f PU",
            rerun.features,
            MINIMUM_PU,
            sum(task.cost_pu or 0.0 for task in tasks),
        )
        return self.api.rerun(body, rerun)

    def failed_features(self, report_url: str, *, limit: int = 1000) -> list[dict[str, Any]]:
        """
        Return the features that failed, one small dict each, e.g. to map a task over them.

        :param report_url: The table of all features, as a result names it.
        :param limit: How many at most: what is returned may go through an XCom.
        :raises ArtifactMissing: There is no such table.
        """
        from airflow_provider_sentinelhub.artifacts.report.failed import failed_features

        return failed_features(self.storage, report_url, limit=limit)

    def statistics(self, statistics_url: str, *, columns: Sequence[str] | None = None) -> pa.Table:
        """
        Return the table of all statistics; ``.to_pandas()`` makes a DataFrame of it.

        :param statistics_url: Where it lies, as a result names it.
        :param columns: Columns to read, see ``docs/statistics_table.md``. Default: all.
        :raises ArtifactMissing: There is no such table.
        :raises InvalidParameter: It is another table, such as the report's.
        """
        from airflow_provider_sentinelhub.artifacts.statistics.tables import load_table

        return load_table(self.storage, statistics_url, columns)

    def estimate(self, task: BatchTask) -> Estimate:
        """
        Estimate what an analysed task will cost, from its feature manifest and the published rules.

        :param task: The task; at least ANALYSIS_DONE.
        :raises ArtifactMissing: There is no feature manifest yet.
        """
        return self.api.estimate(self.with_script(task.request), self.results.pixel_counts(task))
