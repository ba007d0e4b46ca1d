"""
The operations of the service, and where each is in this package: data for ``docs/operations.md`` and its test.

``tests/test_operations.py`` builds every Call and compares it with the simulator's routes and, where it is at hand,
with the service's OpenAPI document.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.http.deployments import PathLayout, Service

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.call import Call

PACKAGE: Final = "airflow_provider_sentinelhub"
ID: Final = "2e0d4c5f-6a3b-4e57-9c6d-0f1a2b3c4d5e"
OTHER_ID: Final = "0f8fad5b-d9cb-469f-a165-70867728950e"
METHODS: Final = ("GET", "POST", "PUT", "DELETE")
SEND: Final = "SentinelHubHook.send"
"""What sends any Call, for operations that no class needs."""


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One operation.

    :param method: HTTP method.
    :param path: Path below the API's prefix, with names of its parts in braces.
    :param call: What builds its Call, by its name in the API's folder of the client.
    :param values: What that is called with, for the test.
    :param airflow: Public classes that use it, or their methods.
    :param reason: Why no class of its own is needed, where there is none.
    """

    method: str
    path: str
    call: str
    values: tuple[Any, ...]
    airflow: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Api:
    """
    One API.

    :param title: Its name.
    :param service: Where it is.
    :param folder: Its folder in ``client/apis``.
    :param operations: Its operations, in the order of the service's reference.
    """

    title: str
    service: Service
    folder: str
    operations: tuple[Operation, ...]

    @property
    def is_here(self) -> bool:
        """Whether this version has its client."""
        return importlib.util.find_spec(f"{PACKAGE}.client.apis.{self.folder}") is not None

    def build(self, operation: Operation) -> Call[Any]:
        """
        Build the Call of an operation.

        :param operation: The operation.
        """
        module, *names = operation.call.split(".")
        found: Any = importlib.import_module(f"{PACKAGE}.client.apis.{self.folder}.{module}")
        for name in names:
            found = getattr(found, name)
        # Keyword arguments come as a dict after an ellipsis.
        values, more = (
            (operation.values[:-2], operation.values[-1])
            if len(operation.values) > 1 and operation.values[-2] is ...
            else (operation.values, {})
        )
        made: Call[Any] = found(*values, **more)
        return made


_TASK = "/process/{taskId}"
_V1 = "/process/{requestId}"
_STATISTICS = "/{requestId}"
_COLLECTION = "/collections/{collectionId}"
_TILE = f"{_COLLECTION}/tiles/{{tileId}}"
_NEW_COLLECTION: Final = {"name": "a", "s3Bucket": "bucket"}
_NEW_TILE: Final = {"path": "folder/(BAND).tif"}
_SEARCH: Final = {"collections": ["sentinel-2-l2a"], "bbox": [8, 41, 9, 43], "datetime": "2024-01-01T00:00:00Z/.."}
_BATCH = "SentinelHubBatchProcess"
_V1_HOOK = "SentinelHubBatchV1Hook"
_INGEST = "SentinelHubByocIngestOperator"
_BYOC_HOOK = "SentinelHubByocHook"
_CATALOG_HOOK = "SentinelHubCatalogHook"
_WAITING = ("SentinelHubBatchProcessOperator", "SentinelHubBatchProcessSensor")

APIS: Final = (
    Api(
        "Process",
        Service.PROCESS,
        "process",
        (Operation("POST", "", "calls.image", ({}, None), ("SentinelHubProcessOperator", "SentinelHubProcessHook")),),
    ),
    Api(
        "Catalog",
        Service.CATALOG,
        "catalog",
        (
            Operation("GET", "", "calls.landing_page", (), (f"{_CATALOG_HOOK}.landing_page",)),
            Operation("GET", "/conformance", "calls.conformance", (), (f"{_CATALOG_HOOK}.conformance",)),
            Operation("GET", "/collections", "calls.collections", (), (f"{_CATALOG_HOOK}.collections",)),
            Operation("GET", _COLLECTION, "calls.collection", ("sentinel-2-l2a",), (f"{_CATALOG_HOOK}.collection",)),
            Operation(
                "GET",
                f"{_COLLECTION}/queryables",
                "calls.queryables",
                ("sentinel-2-l2a",),
                (f"{_CATALOG_HOOK}.queryables",),
            ),
            Operation(
                "GET",
                f"{_COLLECTION}/items",
                "calls.items",
                ("sentinel-2-l2a",),
                (),
                "lists what a search finds as well",
            ),
            Operation(
                "GET",
                f"{_COLLECTION}/items/{{featureId}}",
                "calls.item",
                ("sentinel-2-l2a", "S2A_1"),
                (f"{_CATALOG_HOOK}.item",),
            ),
            Operation("GET", "/search", "calls.simple_search", (_SEARCH,), (), "can do less than the search by POST"),
            Operation(
                "POST",
                "/search",
                "calls.search",
                (_SEARCH,),
                ("SentinelHubCatalogSearchOperator", "SentinelHubCatalogSensor", "SentinelHubCatalogTrigger"),
            ),
        ),
    ),
    Api(
        "Async Process",
        Service.ASYNC_PROCESS,
        "async_process",
        (
            Operation("POST", "/process", "calls.submit", ({},), ("SentinelHubAsyncProcessOperator",)),
            Operation("GET", _V1, "calls.status", (ID,), ("SentinelHubAsyncProcessOperator",)),
        ),
    ),
    Api(
        "Batch Processing V2",
        Service.BATCH_V2,
        "batch_v2",
        (
            Operation(
                "POST",
                "/process",
                "calls.TASKS.create",
                ({},),
                (f"{_BATCH}Operator", "SentinelHubCreateBatchProcessOperator", "SentinelHubRerunFailedOperator"),
            ),
            Operation("GET", "/process", "calls.TASKS.page", (), ("SentinelHubBatchHook.search",)),
            Operation("GET", _TASK, "calls.TASKS.get", (ID,), (*_WAITING, "SentinelHubBatchHook.get")),
            Operation(
                "PUT",
                _TASK,
                "calls.update",
                (ID, "text"),
                (),
                "changes the description only, which holds the tag by which a batch is found again",
            ),
            Operation(
                "POST", f"{_TASK}/analyse", "calls.TASKS.analyse", (ID,), ("SentinelHubAnalyseBatchProcessOperator",)
            ),
            Operation(
                "POST",
                f"{_TASK}/start",
                "calls.TASKS.start",
                (ID,),
                (f"{_BATCH}Operator", "SentinelHubStartBatchProcessOperator"),
            ),
            Operation(
                "POST",
                f"{_TASK}/stop",
                "calls.TASKS.stop",
                (ID,),
                ("SentinelHubStopBatchProcessOperator", "SentinelHubBatchHook.stop"),
            ),
            Operation("GET", "/tilinggrids", "calls.grids", (), ("SentinelHubHook.test_connection",)),
            Operation(
                "GET",
                "/tilinggrids/{id}",
                "calls.grid",
                (7,),
                (),
                "describes a grid, and all grids are known here",
            ),
        ),
    ),
    Api(
        "Batch Processing V1",
        Service.BATCH_V1,
        "batch_v1",
        (
            Operation(
                "POST",
                "/process",
                "calls.TASKS.create",
                ({},),
                (
                    "SentinelHubBatchProcessV1Operator",
                    "SentinelHubCreateBatchProcessV1Operator",
                    f"{_V1_HOOK}.create_request",
                ),
            ),
            Operation(
                "GET",
                "/process",
                "calls.listed",
                (),
                (f"{_V1_HOOK}.iter_requests", f"{_V1_HOOK}.get_latest_request"),
            ),
            Operation(
                "GET",
                _V1,
                "calls.TASKS.get",
                (ID,),
                ("SentinelHubBatchProcessV1Sensor", f"{_V1_HOOK}.get_request"),
            ),
            Operation("PUT", _V1, "calls.update", (ID, ..., {"description": "x"}), (f"{_V1_HOOK}.update_request",)),
            Operation("DELETE", _V1, "calls.delete", (ID,), (f"{_V1_HOOK}.delete_request",)),
            Operation(
                "POST",
                f"{_V1}/analyse",
                "calls.TASKS.analyse",
                (ID,),
                (
                    "SentinelHubAnalyseBatchProcessV1Operator",
                    "SentinelHubEstimateBatchProcessV1Operator",
                    f"{_V1_HOOK}.start_analysis",
                ),
            ),
            Operation(
                "POST",
                f"{_V1}/start",
                "calls.TASKS.start",
                (ID,),
                (
                    "SentinelHubBatchProcessV1Operator",
                    "SentinelHubStartBatchProcessV1Operator",
                    f"{_V1_HOOK}.start_job",
                ),
            ),
            Operation(
                "POST",
                f"{_V1}/cancel",
                "calls.TASKS.stop",
                (ID,),
                ("SentinelHubCancelBatchProcessV1Operator", f"{_V1_HOOK}.cancel_job"),
            ),
            Operation(
                "POST",
                f"{_V1}/restartpartial",
                "calls.TASKS.restart",
                (ID,),
                ("SentinelHubRestartPartialBatchProcessV1Operator", f"{_V1_HOOK}.restart_job"),
            ),
            Operation(
                "POST",
                "/collections",
                "collections.create",
                ("a", "bucket"),
                (f"{_V1_HOOK}.create_collection",),
            ),
            Operation("GET", "/collections", "collections.listed", (), (f"{_V1_HOOK}.iter_collections",)),
            Operation("GET", _COLLECTION, "collections.get", (ID,), (f"{_V1_HOOK}.get_collection",)),
            Operation("PUT", _COLLECTION, "collections.update", (ID, "a"), (f"{_V1_HOOK}.update_collection",)),
            Operation("DELETE", _COLLECTION, "collections.delete", (ID,), (f"{_V1_HOOK}.delete_collection",)),
            Operation(
                "GET",
                f"{_V1}/tiles",
                "calls.tiles",
                (ID,),
                ("SentinelHubBatchProcessV1ReportOperator", f"{_V1_HOOK}.iter_tiles"),
            ),
            Operation("GET", f"{_V1}/tiles/{{tileId}}", "calls.tile", (ID, 7), (f"{_V1_HOOK}.get_tile",)),
            Operation("GET", "/tilinggrids", "calls.tiling_grids", (), (f"{_V1_HOOK}.iter_tiling_grids",)),
            Operation("GET", "/tilinggrids/{id}", "calls.tiling_grid", (7,), (f"{_V1_HOOK}.get_tiling_grid",)),
        ),
    ),
    Api(
        "Statistical",
        Service.STATISTICAL,
        "statistical",
        (
            Operation(
                "POST",
                "",
                "calls.statistics",
                ({},),
                ("SentinelHubStatisticalOperator", "SentinelHubStatisticalHook.statistics"),
            ),
        ),
    ),
    Api(
        "Batch Statistical",
        Service.BATCH_STATISTICAL,
        "batch_statistical",
        (
            Operation(
                "POST",
                "",
                "calls.TASKS.create",
                ({},),
                (
                    "SentinelHubBatchStatisticalOperator",
                    "SentinelHubCreateBatchStatisticalOperator",
                    "SentinelHubRerunFailedBatchStatisticalOperator",
                ),
            ),
            Operation("GET", "", "calls.TASKS.page", (), ("SentinelHubBatchHook.search",)),
            Operation(
                "GET",
                _STATISTICS,
                "calls.TASKS.get",
                (ID,),
                ("SentinelHubBatchStatisticalSensor", "SentinelHubBatchHook.get"),
            ),
            Operation(
                "GET",
                f"{_STATISTICS}/status",
                "calls.status",
                (ID,),
                (),
                "says less than the task itself, which is read with one call as well",
            ),
            Operation(
                "POST",
                f"{_STATISTICS}/analyse",
                "calls.TASKS.analyse",
                (ID,),
                ("SentinelHubAnalyseBatchStatisticalOperator",),
            ),
            Operation(
                "POST",
                f"{_STATISTICS}/start",
                "calls.TASKS.start",
                (ID,),
                ("SentinelHubBatchStatisticalOperator", "SentinelHubStartBatchStatisticalOperator"),
            ),
            Operation(
                "POST",
                f"{_STATISTICS}/stop",
                "calls.TASKS.stop",
                (ID,),
                ("SentinelHubStopBatchStatisticalOperator", "SentinelHubBatchHook.stop"),
            ),
        ),
    ),
    Api(
        "BYOC",
        Service.BYOC,
        "byoc",
        (
            Operation("POST", f"{_COLLECTION}/tiles", "calls.create_tile", (ID, _NEW_TILE), (_INGEST,)),
            Operation(
                "GET",
                f"{_COLLECTION}/tiles",
                "calls.list_tiles",
                (ID,),
                (_INGEST, "SentinelHubByocSensor"),
            ),
            Operation("GET", _TILE, "calls.get_tile", (ID, OTHER_ID), (f"{_BYOC_HOOK}.get_tile",)),
            Operation(
                "PUT",
                _TILE,
                "calls.update_tile",
                (ID, OTHER_ID, {"sensingTime": "2024-01-01T00:00:00Z"}),
                (f"{_BYOC_HOOK}.update_tile",),
            ),
            Operation("DELETE", _TILE, "calls.delete_tile", (ID, OTHER_ID), (f"{_BYOC_HOOK}.delete_tile",)),
            Operation(
                "POST", f"{_TILE}/reingest", "calls.reingest_tile", (ID, OTHER_ID), (f"{_BYOC_HOOK}.reingest_tile",)
            ),
            Operation(
                "POST",
                "/collections",
                "calls.create_collection",
                (_NEW_COLLECTION,),
                (f"{_BYOC_HOOK}.create_collection",),
            ),
            Operation("GET", "/collections", "calls.list_collections", (), (f"{_BYOC_HOOK}.collections",)),
            Operation("GET", _COLLECTION, "calls.get_collection", (ID,), (f"{_BYOC_HOOK}.get_collection",)),
            Operation(
                "PUT",
                _COLLECTION,
                "calls.update_collection",
                (ID, _NEW_COLLECTION),
                (f"{_BYOC_HOOK}.update_collection",),
            ),
            Operation("DELETE", _COLLECTION, "calls.delete_collection", (ID,), (f"{_BYOC_HOOK}.delete_collection",)),
            Operation(
                "POST", f"{_COLLECTION}/copyTiles", "calls.copy_tiles", (ID, OTHER_ID), (f"{_BYOC_HOOK}.copy_tiles",)
            ),
        ),
    ),
)
"""All APIs of the reference that this package has."""


def anonymous(path: str) -> str:
    """
    Return a path whose variable parts have no names.

    :param path: The path.
    """
    return re.sub(r"\{\w+\}", "{}", path)


@cache
def simulated() -> frozenset[tuple[str, str]]:
    """Return method and path of all operations of the simulator, as its application says it."""
    from airflow_provider_sentinelhub.simulator.apis.registry import APIS as SERVED
    from airflow_provider_sentinelhub.simulator.apis.registry import TASK_APIS
    from airflow_provider_sentinelhub.simulator.bucket.delivery import REGION, Keys
    from airflow_provider_sentinelhub.simulator.http.app import build
    from airflow_provider_sentinelhub.simulator.http.tokens import Tokens
    from airflow_provider_sentinelhub.simulator.tasks.clock import Clock
    from airflow_provider_sentinelhub.simulator.tasks.service import Service as Simulated
    from airflow_provider_sentinelhub.simulator.tasks.store import Store

    with tempfile.TemporaryDirectory(prefix="sentinelhub-operations-") as folder:
        store = Store(Path(folder) / "state.sqlite")
        try:
            keys = Keys("key", "secret", "role", "http://127.0.0.1:1", REGION)
            service = Simulated(store, Clock(1.0, store.setting("clock")), keys, TASK_APIS, None)
            paths = build(service, Tokens(service, "id", "secret"), SERVED).openapi()["paths"]
        finally:
            store.close()
    return frozenset((method.upper(), anonymous(path)) for path, methods in paths.items() for method in methods)


def in_simulator(api: Api, operation: Operation) -> str:
    """
    Say in which path layouts the simulator has an operation; an empty text if in none.

    :param api: The API.
    :param operation: The operation.
    """
    layouts = {
        layout: (operation.method, anonymous(api.service.prefix(layout) + operation.path)) in simulated()
        for layout in PathLayout
    }
    if all(layouts.values()):
        return "yes"
    return " and ".join(f"{layout} paths" for layout, is_there in layouts.items() if is_there)


def table() -> str:
    """Return the table of all operations of the APIs that are here, as Markdown."""
    lines: list[str] = []
    for api in (each for each in APIS if each.is_here):
        prefixes = " and ".join(f"`{each}`" for each in dict.fromkeys(map(api.service.prefix, PathLayout)))
        count = "1 operation" if len(api.operations) == 1 else f"{len(api.operations)} operations"
        lines += [f"## {api.title}", "", f"{count} below {prefixes}. The client is in `client/apis/{api.folder}/`."]
        lines += ["", "| operation | client | simulator | Airflow |", "|---|---|---|---|"]
        for each in api.operations:
            classes = ", ".join(f"`{name}`" for name in each.airflow)
            used = classes or f"`{SEND}`; no class uses it: it {each.reason}"
            shown = f"{each.method} {each.path or '/'}"
            lines.append(f"| `{shown}` | `{each.call}` | {in_simulator(api, each)} | {used} |")
        lines.append("")
    return "\n".join(lines).rstrip()
