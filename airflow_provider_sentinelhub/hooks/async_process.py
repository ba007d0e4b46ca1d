"""The hook for Async Process, used by the operator and in Python tasks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidRequest, NotFound
from airflow_provider_sentinelhub.hooks import credentials
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.artifacts.results.async_process import Deliveries, State, Submission
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.apis.async_process.models import AcceptedRequest
    from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec

# So many requests of one submission are looked at.
_MANY = 5


class SentinelHubAsyncProcessHook(SentinelHubHook):
    """
    Submit Async Process requests, and find out what became of them.

    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param aws_conn_id: The AWS connection. Its role or keys are sent to the service with each request, and used here to
        read and write the bucket.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage.
    """

    def __init__(
        self,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(sentinelhub_conn_id, **kwargs)
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id

    @property
    def api(self) -> ApiSpec:
        """The API."""
        from airflow_provider_sentinelhub.client.apis.async_process.spec import ASYNC_PROCESS

        return ASYNC_PROCESS

    @cached_property
    def storage(self) -> Storage:
        """Reads and writes the buckets, each with the connection for its URL's scheme."""
        from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets

        return open_buckets(self.aws_conn_id, self.gcp_conn_id)

    def prepare(self, request: Any) -> dict[str, Any]:
        """
        Check a request locally and return the JSON to send, without credentials. Warnings are logged.

        Needs no network, unless the evalscript is in a bucket: it is read, so that it is checked as well.

        :param request: The service's own request as a dict, or as JSON text.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix.
        :raises StorageUnavailable: The bucket of the evalscript cannot be read.
        """
        from airflow_provider_sentinelhub.artifacts.storage import evalscripts
        from airflow_provider_sentinelhub.hooks.preflight import check_request

        if (url := evalscripts.referred_script(self.api, request)) is not None:
            request = evalscripts.with_script(self.api, self.storage, request, url)
        return check_request(self.api, request, self.address.deployment)

    def check_buckets(self, body: Mapping[str, Any]) -> None:
        """
        Check that the bucket of a request exists, can be written, and is where the request says.

        :param body: What :meth:`prepare` returned.
        :raises InvalidParameter: Names each bucket that refused access, its answer, and the fix.
        :raises StorageUnavailable: A bucket could not be reached; a retry may help.
        """
        from airflow_provider_sentinelhub.hooks.preflight import check_buckets

        check_buckets(self, body)

    def check_budget(self, body: Mapping[str, Any], max_pu: float | str | None) -> None:
        """
        Fail if a request would cost too much; log its estimated cost and its area.

        :param body: What :meth:`prepare` returned.
        :param max_pu: Maximum cost in processing units; ``None`` for the connection's or, if it has none, for anything
            that is not unusually large.
        :raises BudgetExceeded: Nothing was requested.
        """
        from airflow_provider_sentinelhub.client.preflight.area import Area
        from airflow_provider_sentinelhub.client.requests.findings import mapping
        from airflow_provider_sentinelhub.client.requests.raster import Raster
        from airflow_provider_sentinelhub.hooks.budget import check_budget_of_answers

        bounds = mapping(body, "input", "bounds")
        raster = Raster.of(bounds, mapping(body, "output"))
        pixels = [] if raster is None else [(raster.width, raster.height, 1)]
        found = self.api.estimate(body, pixels, self.address.deployment)
        extent = Area.of(body, "input", "bounds").extent
        less = "a coarser resolution, a smaller area, fewer bands"
        check_budget_of_answers(self, found, extent, max_pu, what="The request", less=less)

    def deliveries(self, body: Mapping[str, Any], intent: Intent) -> Deliveries:
        """
        Return the folders of the requests of an intent.

        :param body: What :meth:`prepare` returned.
        :param intent: Which task instance wants what.
        """
        from airflow_provider_sentinelhub.artifacts.results.async_process import Deliveries, name_of
        from airflow_provider_sentinelhub.client.apis.async_process.calls import formats_of

        ((_, bucket),) = body["output"]["delivery"].items()
        return Deliveries(self.storage, bucket["url"], name_of(intent), formats_of(body))

    def submit(self, body: Mapping[str, Any], delivery_url: str) -> AcceptedRequest:
        """
        Have an image computed. It starts at once, is charged, and cannot be cancelled.

        :param body: What :meth:`prepare` returned.
        :param delivery_url: Where it is delivered, instead of where the request says.
        :raises OutcomeUnknown: The answer was lost: the request may run. Look into the delivery folder.
        :raises TooManyRunning: The account already runs as many requests as it may.
        :raises ApiError: The service refused the request.
        """
        from airflow_provider_sentinelhub.artifacts.storage.evalscripts import placed_script
        from airflow_provider_sentinelhub.client.apis.async_process.calls import submit

        ((kind, bucket),) = body["output"]["delivery"].items()
        delivery = {kind: {**bucket, "url": delivery_url}}
        body = {**body, "output": {**body["output"], "delivery": delivery}}
        if (placed := placed_script(self.api, body, "", delivery_url)) is not None:
            self.storage.upload(placed.text, placed.url)
            body = placed.body
        conn_ids = self.aws_conn_id, self.gcp_conn_id
        complete, secrets = credentials.with_credentials(self.api, body, *conn_ids, self.address.deployment)
        try:
            return self.send(submit(complete, secrets))
        except InvalidRequest as e:
            role, account = credentials.role_in(self.api, complete), self.address.deployment.account
            raise credentials.explained(e, *conn_ids, role=role, account=account) from None

    def is_running(self, request_id: str) -> bool:
        """
        Whether a request runs. The service does not tell one that has ended from one that never existed.

        :param request_id: Its id.
        """
        from airflow_provider_sentinelhub.client.apis.async_process.calls import status

        try:
            self.send(status(request_id))
        except NotFound:
            return False
        return True

    def look(self, deliveries: Deliveries, submission: Submission) -> State:
        """
        Find out what became of a request: ask the service, and look into the bucket.

        :param deliveries: The folders of its intent.
        :param submission: Its submission.
        :raises ApiError: The service did not answer.
        :raises StorageUnavailable: The bucket cannot be read.
        """
        from airflow_provider_sentinelhub.artifacts.results.async_process import Stage, State, best

        known = submission.request_id
        ids = [known] if known else deliveries.trace(submission.number)[:_MANY]
        if len(ids) > 1:
            self.log.warning("Several requests deliver to %s: %s", deliveries.folder(submission.number), ", ".join(ids))
        return best(
            State(Stage.RUNNING, each) if self.is_running(each) else deliveries.ended(submission.number, each)
            for each in ids
        )
