"""Operator that makes the GeoPackages which Batch Processing and Batch Statistical take as input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_sentinelhub.client.as_json import own_number
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.failures import airflow_failures

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_sentinelhub.artifacts.features.features import Batch, Columns
    from airflow_provider_sentinelhub.artifacts.features.writer import Size
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

_COLUMNS = ("identifier", "geometry", "width", "height", "resolution", "epsg")


class SentinelHubInputFeaturesOperator(checks.CheckedParametersMixin, BaseOperator):
    """
    Convert features to GeoPackages that the service accepts as input, check them, and upload them to a bucket.

    The features come from ``source``, ``sql`` or ``geometries``. Returns a small dict: ``url`` and ``urls`` of the
    GeoPackages (several if there are more than 700,000 features), ``features`` and ``layers``. The same features give
    the same files, so a retry changes nothing.

    .. seealso:: ``docs/howto/input_features.md``

    :param url: Where to write: a ``s3://``, ``gs://`` or ``file:///`` URL that ends in ``.gpkg``. Templated.
    :param source: URL or absolute path of a GeoPackage, GeoParquet, GeoJSON or Shapefile, or of a zip with one of
        them; or a list of URLs. Templated.
    :param sql: A query whose rows are the features. Templated.
    :param sql_conn_id: The connection of its database. Templated.
    :param parameters: The parameters of the query. Templated.
    :param geometries: Geometries by name, a list of geometries, or one geometry, as WKT or GeoJSON; or GeoJSON
        features, in a list or a FeatureCollection. Templated.
    :param columns: The names of the columns in ``source`` or ``sql``, or of the properties of GeoJSON features: a dict
        with the keys ``identifier``, ``geometry``, ``width``, ``height``, ``resolution`` and ``epsg``. Features without
        an identifier are numbered. Templated.
    :param epsg: EPSG code of the coordinates, if the source does not name one. A different code in the source is an
        error. Templated.
    :param layer: The layer to read, if a file has several. Default: all of them. Templated.
    :param width: Width in pixels, for features without a size of their own. Templated.
    :param height: Height in pixels, for features without a size of their own. Templated.
    :param resolution: Resolution in units of the coordinate reference system, instead of width and height. Templated.
    :param in_pixels: Write the width and height that follow from the resolution, rounded up, instead of the resolution.
    :param repair: Repair what can be repaired: close rings, make polygons valid, make identifiers unique. Otherwise
        everything that is wrong is reported in one error.
    :param aws_conn_id: The AWS connection, for ``s3://`` URLs. Templated.
    :param gcp_conn_id: The Google Cloud connection, for ``gs://`` URLs. Templated.
    """

    template_fields: Sequence[str] = (
        "url",
        "source",
        "sql",
        "sql_conn_id",
        "parameters",
        "geometries",
        "columns",
        "epsg",
        "layer",
        "width",
        "height",
        "resolution",
        "aws_conn_id",
        "gcp_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql", "columns": "json"}  # noqa: RUF012 - Airflow's own convention
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "url": checks.URL,
        "source": checks.files,
        "sql": partial(checks.text, what="a query", optional=True),
        "sql_conn_id": checks.OPTIONAL_CONNECTION,
        "parameters": checks.query_parameters,
        "geometries": checks.geometries,
        "columns": checks.columns,
        "epsg": checks.OPTIONAL_COUNT,
        "layer": checks.LAYER,
        "width": checks.OPTIONAL_COUNT,
        "height": checks.OPTIONAL_COUNT,
        "resolution": partial(checks.number, above=0, optional=True, may_be_empty=True),
        "in_pixels": checks.flag,
        "repair": checks.flag,
        "aws_conn_id": checks.OPTIONAL_CONNECTION,
        "gcp_conn_id": checks.OPTIONAL_CONNECTION,
    }
    # Braces in a query are SQL, not a template.
    may_hold_braces = frozenset({"sql", "parameters"})
    ui_color = "#e3edd8"

    def __init__(
        self,
        *,
        url: str,
        source: str | Sequence[str] | XComArg | None = None,
        sql: str | None = None,
        sql_conn_id: str | None = None,
        parameters: Any = None,
        geometries: Mapping[str, Any] | Sequence[Any] | XComArg | None = None,
        columns: Mapping[str, str] | None = None,
        epsg: int | str | None = None,
        layer: str | None = None,
        width: int | str | None = None,
        height: int | str | None = None,
        resolution: float | str | None = None,
        in_pixels: bool = False,
        repair: bool = False,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.url = url
        self.source = source
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.geometries = geometries
        self.columns = columns
        self.epsg = epsg
        self.layer = layer
        self.width = width
        self.height = height
        self.resolution = resolution
        self.in_pixels = in_pixels
        self.repair = repair
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self.check_parameters(parsing=True)

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """
        Create the GeoPackages.

        :param context: The task's context.
        """
        from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets
        from airflow_provider_sentinelhub.hooks.input_features import make_input

        with airflow_failures():
            self.check_parameters(parsing=False)
            storage, given = open_buckets(self.aws_conn_id, self.gcp_conn_id), self._given()
            batches = self._batches(given, storage)
            files = make_input(batches, self.url, storage=storage, size=self._size(), repair=self.repair, given=given)
            for file in files:
                self.log.info("%s: %d features, EPSG %s", file.url, file.features, file.layers)
            return {
                "url": files[0].url,
                "urls": [file.url for file in files],
                "features": sum(file.features for file in files),
                "layers": sorted({epsg for file in files for epsg in file.layers}),
            }

    def _given(self) -> str:
        """Return the name of the parameter that the features come from."""
        given = {"source": self.source, "sql": self.sql, "geometries": self.geometries}
        named = [name for name, value in given.items() if value is not None]
        if len(named) != 1:
            raise InvalidParameter(
                "source", named, "exactly one of source, sql and geometries is needed", "Give one of them."
            )
        return named[0]

    def _batches(self, given: str, storage: Storage) -> Iterator[Batch]:
        from airflow_provider_sentinelhub.artifacts.features.sources import from_geometries
        from airflow_provider_sentinelhub.hooks.input_features import from_urls
        from airflow_provider_sentinelhub.hooks.input_query import from_sql

        how: dict[str, Any] = {"epsg": self.epsg, "close_rings": self.repair}
        if given == "sql":
            if self.sql_conn_id is None:
                raise InvalidParameter("sql_conn_id", None, "is needed with sql", "Name the database's connection.")
            columns, values = self._columns(), self._values()
            return from_sql(str(self.sql), self.sql_conn_id, parameters=values, columns=columns, **how)
        if given == "geometries":
            return from_geometries(self.geometries, columns=self._columns(), **how)  # type: ignore[arg-type]  # rendered by now
        return from_urls(self._urls(), storage=storage, columns=self._columns(), layer=self.layer, **how)

    def _urls(self) -> list[str]:
        given = _rendered(self.source)
        urls = [given] if isinstance(given, str) else given
        is_list = isinstance(urls, Sequence) and all(isinstance(url, str) and url.strip() for url in urls)
        if not urls or not is_list or urls[0].startswith("["):
            raise InvalidParameter(
                "source", self.source, "must be the URL of a file, or a list of them", "Write e.g. s3://bucket/a.gpkg."
            )
        return list(urls)

    def _values(self) -> Any:
        given = _rendered(self.parameters)
        if given is not None and (isinstance(given, str) or not isinstance(given, Sequence | Mapping)):
            raise InvalidParameter(
                "parameters", given, "must be a list or a dict, as the query needs", "Write e.g. parameters=[2026]."
            )
        # Databases take no numbers of numpy.
        if isinstance(given, Mapping):
            return {name: own_number(value) for name, value in given.items()}
        return given if given is None else [own_number(value) for value in given]

    def _columns(self) -> Columns:
        from airflow_provider_sentinelhub.artifacts.features.features import Columns

        given = _rendered(self.columns) or {}
        if not isinstance(given, Mapping) or not all(isinstance(name, str) and name for name in given.values()):
            raise InvalidParameter(
                "columns", given, "must be a dict of names", 'Write e.g. columns={"identifier": "field_id"}.'
            )
        if unknown := sorted(set(given) - set(_COLUMNS)):
            raise InvalidParameter("columns", unknown, "are not keys of columns", f"Choose from {', '.join(_COLUMNS)}.")
        return Columns(**given)

    def _size(self) -> Size:
        from airflow_provider_sentinelhub.artifacts.features.writer import Size

        return Size(**{name: getattr(self, name) for name in ("width", "height", "resolution", "in_pixels")})


def _rendered(value: Any) -> Any:
    """Return the list or dict that a template has rendered to text."""
    from airflow_provider_sentinelhub.client.models import from_text

    return from_text(value)
