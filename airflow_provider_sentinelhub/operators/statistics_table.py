"""Operator that converts a table of statistics: to wide form, and to GeoParquet with the features' geometries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.failures import airflow_failures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg


class SentinelHubStatisticsTableOperator(checks.CheckedParametersMixin, BaseOperator):
    """
    Convert a table of statistics to wide form, to GeoParquet, or both.

    The original table is not changed. Returns a small dict: ``url`` and ``rows``.

    .. seealso:: ``docs/statistics_table.md``

    :param statistics_url: The table: ``statistics_url`` of an operator's result. Templated.
    :param url: Where to write: a ``s3://`` or ``gs://`` URL that ends in ``.parquet``. Templated.
    :param wide: Write one row for each feature and interval, with columns like ``ndvi_B0_mean``, instead of one row
        for each output and band.
    :param features_url: The GeoPackage that the statistics were requested for. Its geometries are joined as the column
        ``geometry``. Templated.
    :param identifier_column: The column of the GeoPackage with the names of the features, if that is not
        ``identifier``, which is the only one that the service reads. Its text replaces the column ``identifier``.
        Templated.
    :param aws_conn_id: The AWS connection, for ``s3://`` URLs. Templated.
    :param gcp_conn_id: The Google Cloud connection, for ``gs://`` URLs. Templated.
    """

    template_fields: Sequence[str] = (
        "statistics_url",
        "url",
        "features_url",
        "identifier_column",
        "aws_conn_id",
        "gcp_conn_id",
    )
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "statistics_url": checks.URL,
        "url": checks.URL,
        "wide": checks.flag,
        "features_url": checks.OPTIONAL_URL,
        "identifier_column": checks.IDENTIFIER_COLUMN,
        "aws_conn_id": checks.OPTIONAL_CONNECTION,
        "gcp_conn_id": checks.OPTIONAL_CONNECTION,
    }
    ui_color = "#e3edd8"

    def __init__(
        self,
        *,
        statistics_url: str | XComArg,
        url: str,
        wide: bool = False,
        features_url: str | XComArg | None = None,
        identifier_column: str | None = None,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.statistics_url: str = statistics_url  # type: ignore[assignment]  # a string once it is rendered
        self.url = url
        self.wide = wide
        self.features_url: str | None = features_url  # type: ignore[assignment]  # a string once it is rendered
        self.identifier_column = identifier_column
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self.check_parameters(parsing=True)

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """
        Write the table.

        :param context: The task's context.
        """
        from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets
        from airflow_provider_sentinelhub.hooks.statistics_table import reshape_statistics

        with airflow_failures():
            self.check_parameters(parsing=False)
            storage = open_buckets(self.aws_conn_id, self.gcp_conn_id)
            rows = reshape_statistics(
                storage,
                self.statistics_url,
                self.url,
                wide=self.wide,
                features_url=self.features_url,
                identifier_column=self.identifier_column or None,
            )
            self.log.info("%s: %d rows", self.url, rows)
            return {"url": self.url, "rows": rows}
