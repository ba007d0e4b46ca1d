"""
The answers of one run, kept in a bucket as Batch Statistical keeps them: one JSON file each.

So an answer is safe once it is there, even if the worker dies, and a further attempt requests only what is missing. The
same reader makes the same table from them, and other clients that read results of Batch Statistical can read them.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import open_sqlite
from airflow_provider_sentinelhub.artifacts.statistics.layout import (
    ID,
    IDENTIFIER,
    REQUEST_ID,
    StatisticsUrl,
    result_url,
    settled_output_url,
    statistics_root,
)
from airflow_provider_sentinelhub.artifacts.statistics.read import (
    StatisticsRead,
    StatisticsTarget,
    StatisticsTask,
    read_statistics,
    report_on,
)
from airflow_provider_sentinelhub.artifacts.storage.layout import success_url
from airflow_provider_sentinelhub.artifacts.storage.location import Location
from airflow_provider_sentinelhub.client.errors import ArtifactMissing, InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport
    from airflow_provider_sentinelhub.artifacts.statistics.geometries import Place
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.apis.statistical.answers import StatisticalAnswer

_MANY = 20
_FINISHED = "SELECT id FROM features WHERE status = 'DONE'"


def check_output_url(url: str) -> None:
    """
    Check the output URL of a run.

    :param url: The URL or template.
    :raises InvalidParameter: It cannot be used.
    """
    if not url.startswith("file:///"):
        StatisticsUrl.parse(url, field="output_url")
    if "<" in url and REQUEST_ID not in url:
        rule = f"must hold {REQUEST_ID}, or what another run left there would be taken for answers of this one"
        raise InvalidParameter("output_url", url, rule, f"Write e.g. s3://bucket/{REQUEST_ID}/{ID}.json.")


@dataclass(frozen=True, slots=True)
class StatisticalRun:
    """
    One run: the same requests, however many attempts they take.

    :param storage: Where the bucket is.
    :param output_url: Folder or template, as the output of Batch Statistical: ``s3://bucket/folder`` stands for
        ``s3://bucket/folder/<run id>/<ID>.json``. A template holds ``<REQUEST_ID>``, for the run id, and ``<ID>`` or
        ``<IDENTIFIER>``. ``file:///`` is accepted too.
    :param run_id: Its id.
    """

    storage: Storage
    output_url: str
    run_id: str

    def check_names(self, places: Sequence[Place]) -> None:
        """
        Check that each geometry has a file of its own, before any answer is paid for.

        :param places: The geometries.
        :raises InvalidParameter: Names each whose name cannot be that of a file, or is that of another one.
        """
        problems: list[InvalidParameter] = []
        taken: dict[str, Place] = {}
        for place in places:
            url = self._url(place)
            if (other := taken.setdefault(url, place)) is not place:
                rule = f"is what geometries {other.feature_id} and {place.feature_id} are called, so one answer would"
                problems.append(_unnameable(place, f"{rule} replace the other"))
                continue
            try:
                Location.parse(url)
            except InvalidParameter as e:
                problems.append(_unnameable(place, f"cannot stand for {IDENTIFIER}, for a URL {e.rule}"))
        if problems:
            raise problems[0].with_others(problems[1:_MANY])

    def has_begun(self) -> bool:
        """
        Whether anything was answered.

        :raises StorageUnavailable: The bucket cannot be read.
        """
        template = settled_output_url(self.output_url, self.run_id)
        folder = template.partition("<")[0].rpartition("/")[0]
        # Where its id stands in the names of the files alone, other runs' lie in the same folder.
        return any(self.run_id in each.url for each in self.storage.list(f"{folder}/"))

    def succeeded_in(self) -> int | None:
        """
        Return the generation in which the run ended well; ``None`` where it has not.

        :raises StorageUnavailable: The bucket cannot be read.
        """
        try:
            return int(self.storage.read(success_url(self._root, self.run_id)))
        except (ArtifactMissing, ValueError):
            return None

    def succeed(self, generation: int) -> None:
        """
        Keep that the run has ended well, so that another generation is another run.

        :param generation: ``max_tries`` of the task instance: a user's clear raises it, an automatic retry does not.
        :raises StorageUnavailable: The bucket cannot be written.
        """
        self.storage.upload(str(generation).encode(), success_url(self._root, self.run_id))

    def finished(self) -> frozenset[int] | None:
        """
        Return the ids of geometries that need no further request; ``None`` where nothing was answered before.

        :raises StorageUnavailable: The bucket cannot be read or written.
        """
        if not self.has_begun():
            return None
        with tempfile.TemporaryDirectory(prefix="sentinelhub-statistics-") as name:
            found = self._read(Path(name))
            with open_sqlite(found.execution_db, "What became of the geometries") as connection:
                return frozenset(row[0] for row in connection.execute(_FINISHED))

    def known(self, place: Place) -> StatisticalAnswer | None:
        """
        Return the earlier answer for a geometry; ``None`` where there is none, or it was refused.

        :param place: The geometry.
        :raises StorageUnavailable: The bucket cannot be read.
        """
        from airflow_provider_sentinelhub.client.apis.statistical.answers import StatisticalAnswer

        try:
            found = json.loads(self.storage.read(self._url(place)))
            return StatisticalAnswer.model_validate(found["response"])
        except (ArtifactMissing, ValueError, KeyError):
            return None

    def keep(self, place: Place, answer: StatisticalAnswer) -> None:
        """
        Keep the answer for a geometry.

        :param place: The geometry.
        :param answer: The answer.
        :raises StorageUnavailable: The bucket cannot be written.
        """
        self._write(place, "response", json.loads(answer.model_dump_json(by_alias=True, exclude_unset=True)))

    def keep_refusal(self, place: Place, why: str) -> None:
        """
        Keep that the service refused a geometry.

        :param place: The geometry.
        :param why: What it said.
        :raises StorageUnavailable: The bucket cannot be written.
        """
        self._write(place, "error", {"type": "BAD_REQUEST", "message": why})

    def report(self) -> FeatureReport:
        """
        Make the table of all statistics, and answer for every geometry.

        :raises StorageUnavailable: The bucket cannot be read or written.
        """
        with tempfile.TemporaryDirectory(prefix="sentinelhub-statistics-") as name:
            return report_on(self.storage, self._read(Path(name)), self._target)

    @property
    def _root(self) -> str:
        return statistics_root(self.output_url, self.run_id)

    @property
    def _target(self) -> StatisticsTarget:
        return StatisticsTarget(self._root, self.run_id)

    def _read(self, folder: Path) -> StatisticsRead:
        tasks = [StatisticsTask(self.output_url, self.run_id)]
        return read_statistics(self.storage, tasks, self._target, features=None, workdir=folder)

    def _url(self, place: Place) -> str:
        return result_url(self.output_url, self.run_id, place.feature_id, place.label)

    def _write(self, place: Place, kind: str, content: Any) -> None:
        name = {} if place.name is None else {"identifier": place.name}
        found = {"id": place.feature_id, **name, kind: content}
        self.storage.upload(json.dumps(found).encode(), self._url(place))


def _unnameable(place: Place, rule: str) -> InvalidParameter:
    fix = f"Choose another name, or write {ID} instead of {IDENTIFIER} in output_url."
    return InvalidParameter("geometries", place.label, rule, fix)
