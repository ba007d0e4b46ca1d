"""Rules of the script that choose features, and single intervals of their statistics."""

from __future__ import annotations

import datetime as dt
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.intervals import Interval


class Part(BaseModel):
    """A part of the script; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Subject:
    """
    The feature a rule is asked about.

    :param name: Its name.
    :param index: Its position in the task, from 0.
    :param words: What the user wrote into the task: description, or evalscript or the URL of one.
    :param earlier: In how many earlier tasks a feature of this name was processed.
    :param id: Its number in the GeoPackage; ``None`` when it comes from elsewhere.
    :param place: Longitude and latitude of its centre.
    """

    name: str
    index: int = 0
    words: str = ""
    earlier: int = 0
    id: int | None = None
    place: tuple[float, float] = (0.0, 0.0)


class Choice(Part):
    """
    Which features a rule is about; every condition given must hold.

    :param names: Names it applies to.
    :param ids: Numbers in the GeoPackage it applies to.
    :param pattern: Regular expression the whole name must match.
    :param indexes: Positions in the task's list of features, from 0.
    :param area: West, south, east and north in degrees: the feature's centre lies there.
    :param fraction: This share of all features, 0..1, chosen by name and ``seed``: the same in every task.
    :param seed: Changes which features ``fraction`` picks.
    :param task: Regular expression searched for in what the user wrote into the task: its description, or for
        statistics the evalscript or the URL of one.
    :param first_tasks: Only in the first so many tasks that contain the feature; always when ``None``.
    """

    names: list[str] | None = None
    ids: list[int] | None = None
    pattern: str | None = None
    indexes: list[NonNegativeInt] | None = None
    area: tuple[float, float, float, float] | None = None
    fraction: float | None = Field(default=None, ge=0, le=1)
    seed: int = 0
    task: str | None = None
    first_tasks: NonNegativeInt | None = None

    def fits(self, subject: Subject) -> bool:
        """
        Say whether the rule applies to a feature, whatever its number of earlier tasks.

        :param subject: The feature.
        """
        return (
            (self.names is None or subject.name in self.names)
            and (self.ids is None or subject.id in self.ids)
            and (self.pattern is None or re.fullmatch(self.pattern, subject.name) is not None)
            and (self.indexes is None or subject.index in self.indexes)
            and (self.area is None or self._contains(subject.place))
            and (self.fraction is None or random.Random(f"{self.seed}:{subject.name}").random() < self.fraction)
            and (self.task is None or re.search(self.task, subject.words) is not None)
        )

    def in_time(self, earlier: int) -> bool:
        """
        Say whether the rule still applies.

        :param earlier: How often before it could have.
        """
        return self.first_tasks is None or earlier < self.first_tasks

    def _contains(self, place: tuple[float, float]) -> bool:
        west, south, east, north = self.area or (-180, -90, 180, 90)
        return west <= place[0] <= east and south <= place[1] <= north


class FeatureRule(Choice):
    """
    What becomes of some features. The first rule that fits a feature decides; a feature no rule fits is delivered.

    :param outcome: For images: ``fatal`` and ``failed`` (FATAL), ``no_data`` (DONE without a file), ``undelivered``
        (DONE, not delivered, no file), ``pending`` (never processed, although the task ends DONE) or
        ``missing_file`` (DONE and delivered as far as the database says, but no file). For statistics: ``fatal`` (a
        file that holds nothing but an error), ``failed`` (a file whose response is FAILED), ``no_data`` (no interval
        has data), and no file with ``undelivered``, ``pending`` and ``missing_file``.
    :param error: Text for the execution database.
    """

    outcome: Literal["fatal", "failed", "no_data", "undelivered", "pending", "missing_file"]
    error: str = "Internal error: rendering of the feature failed repeatedly."


class IntervalRule(Choice):
    """
    What becomes of some intervals of some features' statistics. The first rule that fits an interval decides.

    With the Statistical API, ``first_tasks`` counts the requests that asked for the same interval of the same place.

    :param outcome: Type of the interval's error; or ``no_data``; or ``absent``: the answer leaves the interval out.
    :param intervals: Positions in the answer, from 0; all intervals when ``None``.
    :param dates: Intervals that contain one of these days; all intervals when ``None``.
    """

    outcome: Literal["EXECUTION_ERROR", "TIMEOUT", "BAD_REQUEST", "no_data", "absent"] = "EXECUTION_ERROR"
    intervals: list[NonNegativeInt] | None = None
    dates: list[dt.date] | None = None

    def fits_interval(self, number: int, interval: Interval) -> bool:
        """
        Say whether the rule is about an interval.

        :param number: Its position, from 0.
        :param interval: Its beginning and end.
        """
        return (self.intervals is None or number in self.intervals) and (
            self.dates is None or any(interval.contains(day) for day in self.dates)
        )
