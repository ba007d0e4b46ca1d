"""
Operator for the Catalog API: finds scenes, and writes them into a table.

Source: https://docs.planet.com/develop/apis/catalog/
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.failures import airflow_failures
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook
from airflow_provider_sentinelhub.operators.templating import RequestTemplateMixin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context, XComArg

    from airflow_provider_sentinelhub.hooks.catalog import Searched, SentinelHubCatalogHook

_MOST_BYTES: Final = 3800


class SentinelHubCatalogSearchOperator(RequestTemplateMixin, checks.CheckedParametersMixin):
    """
    Search the catalog for scenes, or for the dates on which there are some, and write all of them into a file.

    Returns a small dict: ``count``, ``is_complete`` (whether that is all there is, or there are more than
    ``max_items``), ``collection``, ``items`` (the first ones, as far as an XCom has room for them, each with ``id``,
    ``datetime`` and ``cloud_cover``) or, for a search with ``distinct``, ``values``, ``is_shortened`` (whether not all
    of them are in the result) and ``url`` (the file, or nothing).

    .. seealso:: ``docs/howto/catalog.md``

    :param request: The service's own search, as a dict, its JSON text, or the path of a ``.json`` file: ``collections``
        (one), ``datetime``, ``bbox`` or ``intersects``, and optionally ``filter``, ``fields``, ``ids`` and
        ``distinct``. Pages are as long as the service allows, unless there is a ``limit``. Templated.
    :param output_url: Where to write all items: a ``s3://``, ``gs://`` or ``file://`` URL that ends in ``.parquet``
        (STAC-GeoParquet) or ``.ndjson`` (one item to a line). A file of this name is replaced. Default: items are not
        written. Templated.
    :param max_items: Maximum number of items to read. Templated.
    :param on_empty: What to do when nothing was found: ``succeed``, ``skip`` or ``fail``. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for ``s3://`` URLs. Templated.
    :param gcp_conn_id: The Google Cloud connection, for ``gs://`` URLs. Templated.
    """

    template_fields: Sequence[str] = (
        "request",
        "output_url",
        "max_items",
        "on_empty",
        "sentinelhub_conn_id",
        "aws_conn_id",
        "gcp_conn_id",
    )
    template_fields_renderers = {"request": "json"}  # noqa: RUF012 - Airflow's own convention
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "request": checks.request,
        "output_url": checks.OPTIONAL_URL,
        "max_items": partial(checks.number, at_least=1, whole=True),
        "on_empty": partial(checks.one_of, choices=("succeed", "skip", "fail")),
        "sentinelhub_conn_id": checks.CONNECTION,
        "aws_conn_id": checks.OPTIONAL_CONNECTION,
        "gcp_conn_id": checks.OPTIONAL_CONNECTION,
    }
    may_hold_braces = frozenset({"request"})
    ui_color = "#d4e7c5"

    def __init__(
        self,
        *,
        request: Mapping[str, Any] | str | XComArg,
        output_url: str | None = None,
        max_items: int | str = 10_000,
        on_empty: Literal["succeed", "skip", "fail"] | str = "succeed",  # noqa: PYI051 - or a template
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.request = request
        self.output_url = output_url
        self.max_items = max_items
        self.on_empty = on_empty
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self.check_parameters(parsing=True)

    @cached_property
    def hook(self) -> SentinelHubCatalogHook:
        """The hook that reaches the service."""
        from airflow_provider_sentinelhub.hooks.catalog import SentinelHubCatalogHook

        return SentinelHubCatalogHook(self.sentinelhub_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """
        Search, and write what was found.

        :param context: The task's context.
        :raises AirflowSkipException: Nothing was found, and ``on_empty`` is ``skip``.
        :raises AirflowFailException: Nothing was found, and ``on_empty`` is ``fail``; or an error that no retry can
            fix.
        """
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        from airflow_provider_sentinelhub.client.apis.catalog import calls, costs

        with airflow_failures():
            self.check_parameters(parsing=False)
            body = calls.check(self.with_files(self.request))
            found = self._search(body)
        pu = found.pages * costs.page_pu(body)
        self.log.info("%s of %s, about %.3g PU", _counted(found, body), body["collections"][0], pu)
        if not found.is_complete:
            self.log.warning("There are more than max_items=%s: raise it, or search for less", self.max_items)
        if not found.count and self.on_empty != "succeed":
            message = (
                "Nothing was found. Search a longer interval or a larger area, or with a filter that lets more pass."
            )
            raise (AirflowSkipException if self.on_empty == "skip" else AirflowFailException)(message)
        return self._result(found, body)

    def _search(self, body: Mapping[str, Any]) -> Searched:
        from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets
        from airflow_provider_sentinelhub.hooks.catalog import check_url
        from airflow_provider_sentinelhub.hooks.preflight import check_writable

        # What a template renders to may be empty.
        url = self.output_url or None
        if url is None:
            return self.hook.write(body, None, None, int(self.max_items))
        check_url(url, body)
        storage = open_buckets(self.aws_conn_id, self.gcp_conn_id)
        conn_id = self.gcp_conn_id if url.startswith("gs://") else self.aws_conn_id
        check_writable(storage, "output_url", url.rpartition("/")[0], conn_id)
        return self.hook.write(body, storage, url, int(self.max_items))

    def _result(self, found: Searched, body: Mapping[str, Any]) -> dict[str, Any]:
        from airflow_provider_sentinelhub.hooks.catalog import as_many_as_fit

        name = "values" if "distinct" in body else "items"
        result = {
            "count": found.count,
            "is_complete": found.is_complete,
            "collection": body["collections"][0],
            "is_shortened": False,
            "url": self.output_url or None,
        }
        shown = as_many_as_fit(found.first, result, _MOST_BYTES)
        return {**result, name: shown, "is_shortened": len(shown) < found.count}


def _counted(found: Searched, body: Mapping[str, Any]) -> str:
    what = f"distinct values of {body['distinct']}" if "distinct" in body else "items"
    return f"Found {found.count:,} {what} in {found.pages:,} pages"
