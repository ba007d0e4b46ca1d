"""The acquisitions that started a run: what a watcher of the catalog reported in all asset events of the run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from jinja2 import pass_context

if TYPE_CHECKING:
    from airflow.sdk import Asset

log = logging.getLogger(__name__)

MOST_EVENTS: Final = 10_000
"""How many earlier events are read to recognise repeats."""


@dataclass(frozen=True, slots=True)
class NewAcquisition:
    """
    An acquisition as an asset event reports it.

    :param acquisition: What identifies it: the same for all its versions.
    :param collection: Id of the collection.
    :param item_id: Id of the item that was reported, one version of the acquisition.
    :param platform: The satellite, e.g. ``sentinel-2b``.
    :param sensed: When it was acquired, in UTC, e.g. ``2026-05-04T10:10:21Z``.
    :param orbit: Number of the orbit; empty if it is not known.
    :param tile: The tile, e.g. ``33TUK``; empty if the collection has none.
    :param bbox: West, south, east and north in degrees.
    :param cloud_cover: Clouds in percent.
    :param version: Which version it is: a number that grows, or what identifies the item.
    :param watcher: Name of the watcher that reported it.
    """

    acquisition: str
    collection: str
    item_id: str
    platform: str
    sensed: str
    orbit: str
    tile: str
    bbox: tuple[float, ...] | None
    cloud_cover: float | None
    version: int | str
    watcher: str

    @property
    def date(self) -> str:
        """The day it was acquired, in UTC, e.g. ``2026-05-04``."""
        return self.sensed[:10]


@dataclass(frozen=True, slots=True)
class NewAcquisitions(Sequence[NewAcquisition]):
    """
    Acquisitions without repeats, in the order in which they were acquired.

    :param acquisitions: They.
    :param repeated: How many events were left out, because an earlier event reported the same.
    """

    acquisitions: tuple[NewAcquisition, ...]
    repeated: int = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.acquisitions)

    def __getitem__(self, index: Any) -> Any:
        """Return one of them."""
        return self.acquisitions[index]

    def __iter__(self) -> Iterator[NewAcquisition]:
        """Iterate over them."""
        return iter(self.acquisitions)

    @property
    def dates(self) -> list[str]:
        """The days, in UTC."""
        return sorted({each.date for each in self})

    @property
    def tiles(self) -> list[str]:
        """The tiles."""
        return sorted({each.tile for each in self if each.tile})

    @property
    def item_ids(self) -> list[str]:
        """The ids of the items."""
        return [each.item_id for each in self]

    @property
    def bbox(self) -> list[float] | None:
        """The box around all of them: west, south, east and north in degrees."""
        boxes = [each.bbox for each in self if each.bbox is not None]
        if not boxes:
            return None
        west, south, east, north = zip(*boxes, strict=True)
        return [min(west), min(south), max(east), max(north)]

    @property
    def time_range(self) -> dict[str, str]:
        """
        The days from the first to the last, as a ``timeRange`` of a request.

        :raises ValueError: There are none.
        """
        if not self.acquisitions:
            raise ValueError("There are no new acquisitions in this run, so there is no time range")
        return {"from": f"{self.dates[0]}T00:00:00Z", "to": f"{self.dates[-1]}T23:59:59Z"}

    def by_date(self) -> list[NewAcquisitions]:
        """Return those of each day: to map one batch over each."""
        days = self.dates
        return [NewAcquisitions(tuple(each for each in self if each.date == day)) for day in days]


@pass_context
def new_acquisitions(context: Any, asset: Asset | None = None) -> NewAcquisitions:
    """
    Return the acquisitions that started this run, from all its asset events, each once.

    A retry or a clear returns the same: it depends on nothing but the events, which Airflow keeps with the run. What an
    earlier event has reported already, because a triggerer was killed just then, is left out; earlier events are read
    only if that is possible.

    In a task ``new_acquisitions(context)``, and in a template, once ``new_acquisitions`` is among the DAG's
    ``user_defined_macros``, ``{{ new_acquisitions().time_range["from"] }}``.

    :param context: The context of the task.
    :param asset: Only the events of this asset. Default: of all assets that started the run.
    """
    triggering = context["triggering_asset_events"]
    found: dict[str, Mapping[str, Any]] = {}
    reported: set[str] = set()
    repeated = 0
    for each, events in triggering.items():
        # An alias has the events of its assets a second time.
        if not hasattr(each, "uri") or (asset is not None and (each.name, each.uri) != (asset.name, asset.uri)):
            continue
        told = [(event, payload) for event in events if (payload := _payload(event)) is not None]
        earlier = _earlier(each, told)
        for event, payload in sorted(told, key=lambda one: one[0].timestamp):
            report = _report(payload)
            if report in reported or any(at < event.timestamp for at in earlier.get(report, ())):
                repeated += 1
                continue
            reported.add(report)
            name = report if payload.get("policy") == "every" else payload["acquisition"]
            # A newer version of the same acquisition takes the place of the older one.
            found[name] = payload
    if repeated:
        log.info("%d asset events report what an earlier one has reported already", repeated)
    ordered = sorted(map(_read, found.values()), key=lambda one: (one.sensed, one.tile, one.item_id))
    return NewAcquisitions(tuple(ordered), repeated)


def _payload(event: Any) -> Mapping[str, Any] | None:
    payload = (event.extra or {}).get("payload")
    return payload if isinstance(payload, Mapping) and isinstance(payload.get("acquisition"), str) else None


def _report(payload: Mapping[str, Any]) -> str:
    return str(payload.get("report", payload["acquisition"]))


def _read(payload: Mapping[str, Any]) -> NewAcquisition:
    values: dict[str, Any] = {each.name: payload.get(each.name) for each in fields(NewAcquisition)}
    values["bbox"] = None if payload.get("bbox") is None else tuple(payload["bbox"])
    return NewAcquisition(**values)


def _earlier(asset: Any, told: Sequence[tuple[Any, Mapping[str, Any]]]) -> dict[str, list[datetime]]:
    """Return when what these events report was reported, as far back as a repeat is possible."""
    since = [text for _, payload in told if isinstance(text := payload.get("may_repeat_since"), str)]
    if not since:
        return {}
    from airflow.sdk.execution_time.context import InletEventsAccessor

    last = max(event.timestamp for event, _ in told)
    events = InletEventsAccessor(asset_name=asset.name, asset_uri=asset.uri).after(min(since))
    earlier: dict[str, list[datetime]] = {}
    for event in events.before(last.isoformat()).limit(MOST_EVENTS):
        if (payload := _payload(event)) is not None:
            earlier.setdefault(_report(payload), []).append(event.timestamp)
    return earlier
