"""The hook for the asynchronous APIs, used by the operators and in Python tasks."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.costs.amounts import pu_text
from airflow_provider_sentinelhub.client.errors import InvalidParameter, InvalidRequest
from airflow_provider_sentinelhub.hooks import checks, credentials
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa
    import xarray

    from airflow_provider_sentinelhub.artifacts.features.size import InputSize
    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport
    from airflow_provider_sentinelhub.artifacts.results.base import BatchResults
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.costs.estimate import Estimate
    from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
    from airflow_provider_sentinelhub.client.lifecycle.spec import Goal, TaskApiSpec
    from airflow_provider_sentinelhub.client.lifecycle.submission import Before, Search
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
    from airflow_provider_sentinelhub.client.lifecycle.watch import Watch


class SentinelHubBatchHook(SentinelHubHook):
    """
    Create, start, watch, stop and report on the tasks of one asynchronous API.

    :param api: Key of the API.
    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param aws_conn_id: The AWS connection. Its role or keys are sent to the service with each new task, and used here
        to read and write the bucket.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage.
    :param identifier_column: The column of the input GeoPackage with the names of the features, for statistics.
        Default: ``identifier``, which is the only one that the service reads.
    :raises InvalidParameter: There is no such API.
    """

    def __init__(
        self,
        api: str = "batch-v2",
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        identifier_column: str | None = None,
        **kwargs: Any,
    ) -> None:
        from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS

        super().__init__(sentinelhub_conn_id, **kwargs)
        checks.one_of("api", api, tuple(TASK_APIS))
        self.api: TaskApiSpec = TASK_APIS[api]
        """The API."""
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self.identifier_column = identifier_column
        self.measured: dict[str, InputSize] = {}
        """Number, size and extent of input features that were read, by the URL of their GeoPackage."""
        self._is_acting = False

    def get(self, task_id: str) -> BatchTask:
        """
        Read a task.

        :param task_id: Its id.
        :raises NotFound: It does not exist.
        """
        checks.id_of("batch_task_id", task_id, "batch task")
        return self.send(self.api.calls.get(task_id))

    def prepare(self, request: Any) -> dict[str, Any]:
        """
        Check a request locally and return the JSON to send, without credentials.

        Needs no network. Warnings are logged.

        :param request: The service's own request as a dict, or as JSON text.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix.
        """
        from airflow_provider_sentinelhub.hooks.preflight import check_request

        return check_request(self.api, request, self.address.deployment)

    def check_buckets(self, body: Mapping[str, Any]) -> None:
        """
        Check that the buckets of a request exist, can be written, and contain the input features.

        :param body: What :meth:`prepare` returned.
        :raises InvalidParameter: Names each bucket that refused access, its answer, and the fix.
        :raises StorageUnavailable: A bucket could not be reached; a retry may help.
        """
        from airflow_provider_sentinelhub.hooks.preflight import check_buckets

        check_buckets(self, body)

    def check_references(self, body: Mapping[str, Any]) -> None:
        """
        Check that a request fits what it refers to at the service, e.g. the collection that results are added to.

        :param body: What :meth:`prepare` returned.
        :raises InvalidParameter: Names what does not exist and what does not fit.
        """
        from airflow_provider_sentinelhub.hooks.preflight import check_references

        check_references(self, body)

    def check_features(self, body: Mapping[str, Any]) -> None:
        """
        Check the input GeoPackage of a request, if it has one, by the rules of the service.

        The number, total size and extent of the features are logged.

        :param body: What :meth:`prepare` returned.
        :raises InvalidParameter: Names everything that is wrong with it, and the features.
        :raises StorageUnavailable: The bucket cannot be read.
        """
        from airflow_provider_sentinelhub.hooks.input_features import check_input
        from airflow_provider_sentinelhub.hooks.preflight import tell_size

        measured = check_input(self.api, self.storage, body, identifier_column=self.identifier_column)
        if measured is not None:
            tell_size(self.api, body, measured)
            self.measured[str(self.api.features_url(body))] = measured

    def with_credentials(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """
        Return a copy of a request that includes the connections' credentials, and those credentials.

        :param body: What :meth:`prepare` returned.
        :raises InvalidConfiguration: A connection is missing or has no credentials that the service accepts.
        """
        return credentials.with_credentials(self.api, body, self.aws_conn_id, self.gcp_conn_id, self.address.deployment)

    def with_script(self, request: Any) -> Any:
        """
        Return a request with its evalscript, read from the bucket if the request refers to one.

        :param request: The service's own request, as a dict.
        :raises InvalidParameter: The evalscript does not exist.
        :raises StorageUnavailable: The bucket cannot be read.
        """
        from airflow_provider_sentinelhub.artifacts.storage import evalscripts

        url = evalscripts.referred_script(self.api, request)
        return request if url is None else evalscripts.with_script(self.api, self.storage, request, url)

    def with_script_placed(self, body: Mapping[str, Any], intent: Intent) -> Mapping[str, Any]:
        """
        Return a request that can be sent: an evalscript that is too long is written to the bucket.

        :param body: What :meth:`prepare` returned.
        :param intent: The intent it belongs to.
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
        Search for the task of an intent; if there is none, stop older ones.

        :param intent: Which task instance wants what.
        :param recorded: Id of the task that an earlier attempt recorded for this intent.
        :param before: Records from before this task instance was cleared or its request changed.
        :param since: No task of this task instance was created before this time.
        :param resumes: Decides whether to continue with an older task for the same request, if only that is found.
            Default: never.
        :param adopt_ended: Whether a task that has ended may be used. Not for a new intent.
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
        Create the task of an intent after :meth:`search` did not find one.

        :param intent: Which task instance wants what.
        :param body: What :meth:`prepare` returned.
        :param since: No task of this task instance was created before this time.
        :param others: Ids of other tasks that the search found.
        """
        from airflow_provider_sentinelhub.client.lifecycle.submission import create

        body = self.with_script_placed(body, intent)
        complete, secrets = self.with_credentials(body)
        try:
            return self.sender.run(create(self.api, intent, complete, secrets, since=since, others=others))
        except InvalidRequest as e:
            role, account = credentials.role_in(self.api, complete), self.address.deployment.account
            told = credentials.explained(e, self.aws_conn_id, self.gcp_conn_id, role=role, account=account)
            raise credentials.explained_by_policy(self.api, body, told) from None

    def reruns_of(self, original: BatchTask) -> list[BatchTask]:
        """
        Return the reruns of a task, in the order in which they were created.

        :param original: The original task.
        """
        from airflow_provider_sentinelhub.client.lifecycle.submission import reruns_of

        return self.sender.run(reruns_of(self.api, original))

    def act(self, task: BatchTask, goal: Goal) -> BatchTask:
        """
        Take the next steps of a task, if any. Taking a step twice does no harm.

        :param task: The task as last seen.
        :param goal: What the task should reach.
        """
        from airflow_provider_sentinelhub.client.lifecycle.procedures import act

        self._is_acting = True
        task = self.sender.run(act(self.api, task, goal))
        # Not after an exception, e.g. an interrupt: a request that was sent may still arrive.
        self._is_acting = False
        return task

    def restart(self, task: BatchTask) -> BatchTask:
        """
        Have the service run again, in the same task, what failed in it; return the task when that has begun.

        :param task: The task, in a status in which this is possible.
        """
        from airflow_provider_sentinelhub.client.lifecycle.procedures import restart

        self._is_acting = True
        task = self.sender.run(restart(self.api, task))
        self._is_acting = False
        return task

    def stop(self, task_id: str) -> BatchTask | None:
        """
        Stop a task, unless it has ended, was never started or does not exist.

        :param task_id: Its id.
        """
        from airflow_provider_sentinelhub.client.lifecycle.procedures import stop

        checks.id_of("batch_task_id", task_id, "batch task")
        return self.sender.run(stop(self.api, task_id, action_on_its_way=self._is_acting))

    def wait(self, task: BatchTask, goal: Goal, watch: Watch) -> BatchTask:
        """
        Take the steps of a task and wait, blocking, until it has reached its goal, is late or over budget.

        :param task: The task as last seen.
        :param goal: What the task should reach.
        :param watch: Poll interval, deadline and budget.
        :raises ApiError: A step was refused, or polling failed for too long.
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
            # After the poll, so that a task that ended in time is never late.
            if watch.is_late:
                return task
            just_read = None
            time.sleep(watch.pause())

    @cached_property
    def storage(self) -> Storage:
        """Reads and writes the buckets, each with the connection for its URL's scheme."""
        from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets

        return open_buckets(self.aws_conn_id, self.gcp_conn_id)

    @cached_property
    def results(self) -> BatchResults:
        """Results of the API's tasks in the bucket."""
        from airflow_provider_sentinelhub.artifacts.results.registry import results_of

        return results_of(self.api, self.storage, self.sender.run, self.identifier_column)

    def report(self, task: BatchTask, reruns: Sequence[BatchTask] = ()) -> FeatureReport:
        """
        Read the outcome of every feature, and write the full table as Parquet beside the results.

        :param task: The task.
        :param reruns: Its reruns, in order: the report covers all of them.
        :raises ArtifactMissing: There are no results.
        :raises ArtifactCorrupt: The results cannot be read.
        """
        return self.results.report((task, *reruns))

    def request_for_failed(
        self, tasks: Sequence[BatchTask], body: Mapping[str, Any], *, only_after_progress: bool
    ) -> dict[str, Any] | None:
        """
        Return a request that reruns the failed features of a task; ``None`` if a rerun cannot help.

        Writes the features to the bucket. The same tasks give the same request.

        :param tasks: The original task and its reruns, in order.
        :param body: The request of the original task.
        :param only_after_progress: Whether to rerun only if the last task delivered a feature that had failed.
        :raises ArtifactMissing: The results in the bucket are older than the end of the task.
        :raises StorageUnavailable: The bucket cannot be read or written.
        """
        from airflow_provider_sentinelhub.client.costs.estimate import MINIMUM_PU

        rerun = self.results.prepare_rerun(tasks, only_after_progress=only_after_progress)
        if rerun is None:
            return None
        self.log.info(
            "Rerunning failed features: %d, for at least %g PU. The tasks so far cost %s",
            rerun.features,
            MINIMUM_PU,
            pu_text(sum(task.cost_pu or 0.0 for task in tasks)),
        )
        return self.api.rerun(body, rerun)

    def failed_features(self, report_url: str, *, limit: int = 1000) -> list[dict[str, Any]]:
        """
        Return the failed features, one small dict each, e.g. to map a task over them.

        :param report_url: URL of the table of all features, from a result.
        :param limit: Maximum number: the return value may go through an XCom.
        :raises ArtifactMissing: The table does not exist.
        """
        from airflow_provider_sentinelhub.artifacts.report.failed import failed_features

        return failed_features(self.storage, report_url, limit=limit)

    def open_zarr(self, result: Mapping[str, Any] | str, *, feature: str | None = None) -> xarray.Dataset:
        """
        Open the Zarr of a task as an ``xarray.Dataset``; values are read when they are used.

        Needs the extra ``zarr``. Pixels with the fill value are NaN. If the task is known, ``attrs["crs"]`` is the
        coordinate reference system of its tiling grid, e.g. ``EPSG:3035``.

        :param result: What the operator returned, or the id of the task, or the URL of the Zarr.
        :param feature: Name of a tile, to return only the part of the arrays that it occupies. Needs the report of the
            task, so not with a URL. Default: everything.
        :raises InvalidConfiguration: The extra ``zarr`` is not installed.
        :raises InvalidParameter: There is no such feature.
        :raises ArtifactMissing: There is no Zarr, or no report.
        :raises ArtifactCorrupt: The Zarr cannot be read within bounds.
        :raises StorageUnavailable: The bucket cannot be read.
        """
        from airflow_provider_sentinelhub.artifacts.report.place import box_of
        from airflow_provider_sentinelhub.artifacts.storage.layout import report_url
        from airflow_provider_sentinelhub.artifacts.storage.zarr_group import open_group, within
        from airflow_provider_sentinelhub.client.preflight.area import grid_of

        given = result if isinstance(result, str) else str(result.get("task_id"))
        if "://" in given:
            if feature is not None:
                rule = "cannot be found with the URL of a Zarr, because the report says where it is"
                raise InvalidParameter("feature", feature, rule, "Give the result of the operator, or the id.")
            return open_group(self.storage, given)
        task = self.get(given)
        group = open_group(self.storage, self.results.delivered_url(task))
        if (grid := grid_of(task.request, self.api.tiling_grid)) is not None:
            group = group.assign_attrs({"crs": grid.crs, **group.attrs})
        if feature is None:
            return group
        return within(group, box_of(self.storage, report_url(self.results.root(task), task.id), feature))

    def statistics(self, statistics_url: str, *, columns: Sequence[str] | None = None) -> pa.Table:
        """
        Return the table of all statistics; ``.to_pandas()`` turns it into a DataFrame.

        :param statistics_url: URL of the table, from a result.
        :param columns: Columns to read, see ``docs/statistics_table.md``. Default: all.
        :raises ArtifactMissing: The table does not exist.
        :raises InvalidParameter: It is a different table, such as the report's.
        """
        from airflow_provider_sentinelhub.artifacts.statistics.tables import load_table

        return load_table(self.storage, statistics_url, columns)

    def estimate(self, task: BatchTask) -> Estimate:
        """
        Estimate the cost of an analysed task, from its feature manifest and the published rules.

        :param task: The task, analysed.
        :raises ArtifactMissing: The feature manifest does not exist yet.
        """
        return self.api.estimate(
            self.with_script(task.request), self.results.pixel_counts(task), self.address.deployment
        )
