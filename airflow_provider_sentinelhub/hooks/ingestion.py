"""What became of the tiles of a collection: counts, causes and a table, for the operator and the sensor."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.errors import FeaturesFailed
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

MOST_XCOM_BYTES: Final = 3_500
_NAMED = 10
_GROUPS = 5
_MESSAGE = 300
_UNKNOWN = "the service gave no cause"


@dataclass(slots=True)
class Ingestion:
    """
    What became of tiles.

    :param collection_id: Id of their collection.
    :param statuses: Status of each tile, by path. ``REJECTED`` for one whose files broke a rule before it was
        registered, ``MISSING`` for one that the service does not list.
    :param causes: Why a tile failed, by path.
    """

    collection_id: str
    statuses: dict[str, str] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> list[str]:
        """Paths of the tiles that cannot be used, and never will without a change."""
        return [path for path, status in self.statuses.items() if status in {"FAILED", "REJECTED", "MISSING"}]

    @property
    def pending(self) -> int:
        """How many are still being ingested."""
        return len(self.statuses) - len(self.failed) - self.ingested

    @property
    def ingested(self) -> int:
        """How many are ingested."""
        return sum(status == "INGESTED" for status in self.statuses.values())

    @property
    def outcome(self) -> str:
        """DONE, PARTIAL or FAILED; INGESTING while some are pending."""
        if self.pending:
            return "INGESTING"
        if not self.failed:
            return "DONE"
        return "PARTIAL" if self.ingested else "FAILED"

    def groups(self) -> list[dict[str, Any]]:
        """Return failed tiles with the same problem: the largest groups, each with its size and examples."""
        from airflow_provider_sentinelhub.artifacts.report.messages import ErrorGroups
        from airflow_provider_sentinelhub.artifacts.report.report import FeatureOutcome

        groups = ErrorGroups()
        for path in self.failed:
            # The cause may name a file of the tile: with its folder taken out, the same problem is one group.
            groups.add(FeatureOutcome.FAILED, path.rpartition("/")[0] or path, self.causes.get(path) or _UNKNOWN)
        found, _ = groups.result()
        return [
            {"count": group.count, "message": one_line(group.message, _MESSAGE), "examples": list(group.examples[:2])}
            for group in found[:_GROUPS]
        ]

    def result(self, **more: Any) -> dict[str, Any]:
        """
        Return the result for an XCom, which is small however many tiles there are.

        :param more: Further fields.
        """
        failed = self.failed
        result = {
            "collection_id": self.collection_id,
            "data_type": f"byoc-{self.collection_id}",
            "outcome": self.outcome,
            "total": len(self.statuses),
            "ingested": self.ingested,
            "failed": len(failed),
            "pending": self.pending,
            "error_groups": self.groups(),
            "failed_names": [one_line(path, 200) for path in failed[:_NAMED]],
            **more,
        }
        while len(json.dumps(result)) > MOST_XCOM_BYTES and (result["failed_names"] or result["error_groups"]):
            (result["failed_names"] or result["error_groups"]).pop()
        return result

    def text(self) -> str:
        """Return the failures, for a message."""
        failed = self.failed
        lines = [f"{len(failed)} of {len(self.statuses)} tiles of collection {self.collection_id} were not ingested."]
        lines += [
            f"  {group['count']} x {group['message']} (e.g. {', '.join(group['examples'])})" for group in self.groups()
        ]
        return "\n".join(lines)

    def error(self, result: Mapping[str, Any]) -> FeaturesFailed:
        """
        Return the error about the failed tiles.

        :param result: The result as far as it is known.
        """
        failed = FeaturesFailed(f"{self.text()}\nCorrect the files and clear the Airflow task: it reingests them.")
        failed.result = result
        return failed

    def write(self, storage: Storage, url: str) -> None:
        """
        Write a table of all tiles: ``path``, ``status`` and ``cause``, as Parquet.

        :param storage: Writes the bucket.
        :param url: Where to.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        paths = sorted(self.statuses)
        columns = {
            "path": pa.array(paths, pa.string()),
            "status": pa.array([self.statuses[path] for path in paths], pa.string()),
            "cause": pa.array([self.causes.get(path) for path in paths], pa.string()),
        }
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), sink, compression="zstd")
        storage.upload(sink.getvalue().to_pybytes(), url)
