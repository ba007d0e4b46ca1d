"""
Operators for Batch Processing V2.

Source: https://docs.planet.com/develop/apis/batch-processing/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk.configuration import conf

from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook
from airflow_provider_sentinelhub.operators.running import RunningWithRerunsOperatorBase
from airflow_provider_sentinelhub.operators.steps import (
    AnalyseOperatorBase,
    CreateOperatorBase,
    EstimateOperatorBase,
    ReportOperatorBase,
    StartOperatorBase,
    StopOperatorBase,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from airflow.sdk.definitions.xcom_arg import XComArg


class SentinelHubBatchProcessOperator(RunningWithRerunsOperatorBase):
    """
    Run a Batch Processing V2 task: create it, start it, wait until it ends, and report the outcome of every feature.

    Failed features can be rerun alone. A retry of the Airflow task continues with the same remote task.

    Returns a small dict: ``task_id``, ``task_ids`` (with those of reruns), ``outcome`` (DONE or PARTIAL),
    ``status``, ``cost_pu`` of all of them, the number of features in ``total`` and by outcome (``delivered``,
    ``no_data``, ``undelivered``, ``failed``, ``pending``, ``unknown``), ``error_groups``, ``failed_names`` (some of
    them) and ``report_url`` (the full table, Parquet). If the results are added to a BYOC collection, also its
    ``collection_id``, and ``data_type``, the ``type`` of a data source that reads it.

    .. seealso:: ``docs/howto/batch_process.md``

    :param request: The service's own request, as a dict, its JSON text, or the path of a ``.json`` file. It holds no
        credentials: those are taken from the connections when it is sent. An ``evalscript`` may be the path of a
        ``.js`` file; its text is sent as it is. Templated.
    :param on_out_of_pu: What to do when the service stops the remote task because the account has run out of
        processing units: ``fail``, or ``wait`` and start it again once the service's lock of 60 minutes has expired
        and processing units are available.
    :param analyse_first: Have the remote task analysed first, and start it only then.
    :param on_clear: What to do with the remote task of earlier attempts after a user has cleared the Airflow task.
        ``resume``: continue with it, unless the Airflow task succeeded or the request has changed. A running task is
        waited for; a stopped one is started again once the service's lock has expired; of one that is DONE, only
        failed features are rerun; one that is FAILED is replaced by a new one. ``new``: stop it and create a new one.
        ``adopt``: like ``resume``, also after a success.
    :param check_bucket: Check the bucket before a task is created: that it can be used (a small object is written,
        read, listed and deleted), that it holds the features, and in which region it is.
    :param check_features: Download the GeoPackage that a request names as its input, before a task is created, and
        refuse what the service would refuse.
    :param max_reruns: How many times failed features are rerun at most. There is no further rerun after one that
        recovered nothing, and features whose error is permanent are left out. Templated.
    :param on_partial: What to do when the remote task is DONE but some features failed: ``fail``, ``warn``, ``rerun``
        (rerun them alone, then ``fail`` if some are still missing) or ``rerun_then_warn``. Templated.
    :param max_pu: Maximum processing units for everything that is started here, reruns included. Before a start, the
        cost is estimated from the analysed features, and a task that would cost more is not started. A running task
        that has spent more is stopped. Default: the limit of the connection; without one, nothing is stopped, but a
        task of more than 10,000 PU or 1,000,000 km2 is not started. Templated.
    :param deferrable: Run in deferrable mode: wait in the triggerer instead of holding a worker slot.
    :param poll_interval: Time in seconds between two checks of the remote task; the service asks for 60 or more.
        Templated.
    :param timeout: How long the remote task may take, over all retries of the Airflow task, as a ``timedelta`` or in
        seconds. After that it is stopped, and the Airflow task fails. ``None`` for no limit. Airflow's
        ``execution_timeout`` counts in the same way, also while deferred; the shorter one applies.
    :param stop_on_kill: Whether to stop the remote task when the Airflow task is killed: marked failed or success,
        or ended with its DAG run. A clear leaves it running for the next attempt.
    :param progress_interval: Time in seconds between two counts of the features while waiting, pushed to the XCom
        ``sentinelhub_progress``; 0 for none. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    api = "batch-v2"

    def __init__(
        self,
        *,
        request: Mapping[str, Any] | str | XComArg,
        on_out_of_pu: Literal["fail", "wait"] = "fail",
        analyse_first: bool = False,
        on_clear: Literal["resume", "new", "adopt"] = "resume",
        check_bucket: bool = True,
        check_features: bool = True,
        max_reruns: int | str = 3,
        on_partial: str = "fail",
        max_pu: float | str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str = 60.0,
        timeout: timedelta | float | None = None,
        stop_on_kill: bool = True,
        progress_interval: float | str = 300.0,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            request=request,
            on_out_of_pu=on_out_of_pu,
            analyse_first=analyse_first,
            on_clear=on_clear,
            check_bucket=check_bucket,
            check_features=check_features,
            max_reruns=max_reruns,
            on_partial=on_partial,
            max_pu=max_pu,
            deferrable=deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            stop_on_kill=stop_on_kill,
            progress_interval=progress_interval,
            sentinelhub_conn_id=sentinelhub_conn_id,
            aws_conn_id=aws_conn_id,
            gcp_conn_id=gcp_conn_id,
            **kwargs,
        )


class SentinelHubCreateBatchProcessOperator(CreateOperatorBase):
    """
    Create a Batch Processing V2 task and return its id.

    A retry returns the id of the same task. A task costs nothing until it is analysed or started.

    .. seealso:: ``docs/howto/batch_steps.md``

    :param request: The service's own request, as a dict, its JSON text, or the path of a ``.json`` file. It holds no
        credentials: those are taken from the connections when it is sent. An ``evalscript`` may be the path of a
        ``.js`` file; its text is sent as it is. Templated.
    :param on_clear: What to do with the remote task after a user has cleared the Airflow task. ``adopt``: return it
        again, unless it is FAILED, cannot be started again or the request has changed, so that clearing a whole DAG run
        pays for nothing twice. ``resume``: the same, unless it was analysed or started. ``new``: stop it and create a
        new one.
    :param check_bucket: Check the bucket before a task is created: that it can be used (a small object is written,
        read, listed and deleted), that it holds the features, and in which region it is.
    :param check_features: Download the GeoPackage that a request names as its input, before a task is created, and
        refuse what the service would refuse.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    api = "batch-v2"

    def __init__(
        self,
        *,
        request: Mapping[str, Any] | str | XComArg,
        on_clear: Literal["resume", "new", "adopt"] = "adopt",
        check_bucket: bool = True,
        check_features: bool = True,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            request=request,
            on_clear=on_clear,
            check_bucket=check_bucket,
            check_features=check_features,
            sentinelhub_conn_id=sentinelhub_conn_id,
            aws_conn_id=aws_conn_id,
            gcp_conn_id=gcp_conn_id,
            **kwargs,
        )


class SentinelHubAnalyseBatchProcessOperator(AnalyseOperatorBase):
    """
    Have a Batch Processing V2 task analysed, wait until it is, and return its id.

    A task that is already analysed is left as it is.

    .. seealso:: ``docs/howto/batch_steps.md``

    :param batch_task_id: The id of the remote task, e.g. the output of the operator that created it. Templated.
    :param deferrable: Run in deferrable mode: wait in the triggerer instead of holding a worker slot.
    :param poll_interval: Time in seconds between two checks of the remote task; the service asks for 60 or more.
        Templated.
    :param timeout: How long the remote task may take, over all retries of the Airflow task, as a ``timedelta`` or in
        seconds. After that it is stopped, and the Airflow task fails. ``None`` for no limit. Airflow's
        ``execution_timeout`` counts in the same way, also while deferred; the shorter one applies.
    :param stop_on_kill: Whether to stop the remote task when the Airflow task is killed: marked failed or success,
        or ended with its DAG run. A clear leaves it running for the next attempt.
    :param progress_interval: Time in seconds between two counts of the features while waiting, pushed to the XCom
        ``sentinelhub_progress``; 0 for none. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    api = "batch-v2"

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str = 60.0,
        timeout: timedelta | float | None = None,
        stop_on_kill: bool = True,
        progress_interval: float | str = 300.0,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            batch_task_id=batch_task_id,
            deferrable=deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            stop_on_kill=stop_on_kill,
            progress_interval=progress_interval,
            sentinelhub_conn_id=sentinelhub_conn_id,
            aws_conn_id=aws_conn_id,
            gcp_conn_id=gcp_conn_id,
            **kwargs,
        )


class SentinelHubEstimateBatchProcessOperator(EstimateOperatorBase):
    """
    Have a Batch Processing V2 task analysed, and return an estimate of what it will cost, with its margin of error.

    Returns a small dict: ``task_id``, ``pu``, ``low_pu``, ``high_pu``, ``features``, ``pixels`` and ``assumptions``.

    .. seealso:: ``docs/cost.md``

    :param batch_task_id: The id of the remote task, e.g. the output of the operator that created it. Templated.
    :param deferrable: Run in deferrable mode: wait in the triggerer instead of holding a worker slot.
    :param poll_interval: Time in seconds between two checks of the remote task; the service asks for 60 or more.
        Templated.
    :param timeout: How long the remote task may take, over all retries of the Airflow task, as a ``timedelta`` or in
        seconds. After that it is stopped, and the Airflow task fails. ``None`` for no limit. Airflow's
        ``execution_timeout`` counts in the same way, also while deferred; the shorter one applies.
    :param stop_on_kill: Whether to stop the remote task when the Airflow task is killed: marked failed or success,
        or ended with its DAG run. A clear leaves it running for the next attempt.
    :param progress_interval: Time in seconds between two counts of the features while waiting, pushed to the XCom
        ``sentinelhub_progress``; 0 for none. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    api = "batch-v2"

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str = 60.0,
        timeout: timedelta | float | None = None,
        stop_on_kill: bool = True,
        progress_interval: float | str = 300.0,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            batch_task_id=batch_task_id,
            deferrable=deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            stop_on_kill=stop_on_kill,
            progress_interval=progress_interval,
            sentinelhub_conn_id=sentinelhub_conn_id,
            aws_conn_id=aws_conn_id,
            gcp_conn_id=gcp_conn_id,
            **kwargs,
        )


class SentinelHubStartBatchProcessOperator(StartOperatorBase):
    """
    Start a Batch Processing V2 task and return its id, without waiting for it.

    A task that is already started is left as it is.

    .. seealso:: ``docs/howto/batch_steps.md``

    :param batch_task_id: The id of the remote task, e.g. the output of the operator that created it. Templated.
    :param max_pu: Maximum processing units the remote task may cost, as estimated from its analysed features. A task
        that would cost more, or is not analysed yet, is not started. Default: the limit of the connection; without
        one, a task of more than 10,000 PU or 1,000,000 km2 is not started. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    api = "batch-v2"

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
        max_pu: float | str | None = None,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            batch_task_id=batch_task_id,
            max_pu=max_pu,
            sentinelhub_conn_id=sentinelhub_conn_id,
            aws_conn_id=aws_conn_id,
            gcp_conn_id=gcp_conn_id,
            **kwargs,
        )


class SentinelHubStopBatchProcessOperator(StopOperatorBase):
    """
    Stop a Batch Processing V2 task and return its id.

    Features that are processed already, or being processed, are charged. A task that has ended, or was never started,
    is left as it is.

    .. seealso:: ``docs/howto/batch_steps.md``

    :param batch_task_id: The id of the remote task, e.g. the output of the operator that created it. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    api = "batch-v2"

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            batch_task_id=batch_task_id,
            sentinelhub_conn_id=sentinelhub_conn_id,
            aws_conn_id=aws_conn_id,
            gcp_conn_id=gcp_conn_id,
            **kwargs,
        )


class SentinelHubBatchReportOperator(ReportOperatorBase):
    """
    Report the outcome of every feature of a Batch Processing V2 task that has ended, or is still running.

    Returns what :class:`SentinelHubBatchProcessOperator` returns.

    .. seealso:: ``docs/howto/batch_report.md``

    :param batch_task_id: The id of the remote task, e.g. the output of the operator that created it. Templated.
    :param on_partial: What to do when the remote task has ended but some features failed: ``fail`` or ``warn``.
        Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    api = "batch-v2"

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
        on_partial: str = "fail",
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            batch_task_id=batch_task_id,
            on_partial=on_partial,
            sentinelhub_conn_id=sentinelhub_conn_id,
            aws_conn_id=aws_conn_id,
            gcp_conn_id=gcp_conn_id,
            **kwargs,
        )
