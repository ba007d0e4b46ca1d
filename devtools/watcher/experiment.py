"""A watcher of the catalog on a real Airflow, whose triggerer is killed and paused while items are published."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.airflow_stack import AirflowStack
from devtools.watcher.publishing import PERIOD, plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from devtools.watcher.publishing import Plan

DAGS = Path(__file__).resolve().parent / "dags"
DAG_ID = "take_acquisitions"
_PAUSE_S = 15.0
_PAGE = 100
_SETTLE_S = 8.0


@dataclass(slots=True)
class Outcome:
    """
    What became of the acquisitions.

    :param planned: What was published.
    :param kills: How often the triggerer was killed.
    :param pauses: How often it was paused.
    :param events: How often each was reported, by key.
    :param taken: How often each was handed to a task, by key.
    :param marked: How many repeated events the consumer's helper left out.
    :param runs: Number of runs.
    :param seconds: How long it took.
    :param keys: How many keys the watcher remembers at the end.
    :param stored: Size of each value in the state store, in bytes.
    """

    planned: Plan
    kills: int
    pauses: int
    events: Counter[str]
    taken: Counter[str]
    marked: int
    runs: int
    seconds: float
    keys: int
    stored: dict[str, int]
    expected: set[str] = field(default_factory=set)

    @property
    def is_right(self) -> bool:
        """Whether each acquisition was handed over exactly once."""
        return set(self.taken) == self.expected and set(self.taken.values()) <= {1}

    def rows(self) -> list[tuple[str, object]]:
        """Return what to print."""
        published = sum(map(len, self.planned.waves))
        return [
            ("acquisitions", self.planned.acquisitions),
            ("... published late, by up to five days", self.planned.late),
            ("... processed again", self.planned.reprocessed),
            ("... received by two stations", self.planned.doubled),
            ("items published", published),
            ("triggerer killed / paused", f"{self.kills} / {self.pauses}"),
            ("asset events", self.events.total()),
            ("... that repeat another one", self.events.total() - len(self.events)),
            ("runs of the DAG", self.runs),
            ("acquisitions handed over exactly once", sum(number == 1 for number in self.taken.values())),
            ("... more than once", sum(number > 1 for number in self.taken.values())),
            ("... not at all", len(self.expected - set(self.taken))),
            ("keys remembered at the end", self.keys),
            ("values in the state store", len(self.stored)),
            ("... bytes", sum(self.stored.values())),
            ("seconds", round(self.seconds)),
        ]


class Experiment:
    """
    Runs one experiment.

    :param count: How many acquisitions.
    :param waves: In how many parts they are published.
    :param kills: How often the triggerer is killed.
    :param pauses: How often it is paused.
    :param seed: Chooses everything.
    :param say: Where to report what happens.
    """

    def __init__(
        self, *, count: int, waves: int, kills: int, pauses: int, seed: int, say: Callable[[str], object]
    ) -> None:
        self._now = datetime.now(UTC)
        self._plan = plan(count, waves, seed, self._now)
        self._chance = random.Random(seed)
        harm = ["kill"] * kills + ["pause"] * pauses
        self._chance.shuffle(harm)
        # Not before the watcher works, and not after everything was published.
        at = sorted(self._chance.sample(range(1, max(len(self._plan.waves), len(harm) + 1)), len(harm)))
        self._harm = dict(zip(at, harm, strict=True))
        self._kills, self._pauses = kills, pauses
        self._say = say

    def run(self) -> Outcome:
        """Run it, on an Airflow and a simulator of its own."""
        with (
            tempfile.TemporaryDirectory(prefix="watcher-") as taken,
            Simulator.start(speed=60) as sim,
            AirflowStack([DAGS], env=self.environment(sim, Path(taken))) as airflow,
        ):
            return self.publish(sim, airflow, Path(taken))

    def environment(self, sim: Simulator, taken: Path) -> dict[str, str]:
        """
        Let the service show published items only, and return what Airflow needs to run the DAG.

        :param sim: The service.
        :param taken: Where the DAG writes down what it was given.
        """
        # Before Airflow starts: the watcher must not see anything else.
        sim.admin("PUT", "/catalog", {"synthetic": False})
        start = (self._now - PERIOD - timedelta(days=1)).isoformat()
        return {**sim.ready.airflow_connections(), "WATCHER_TAKEN": str(taken), "WATCHER_START": start}

    def publish(self, sim: Simulator, airflow: AirflowStack, taken: Path) -> Outcome:
        """
        Publish everything, do harm meanwhile, and return what became of it.

        :param sim: The service.
        :param airflow: An Airflow that runs the DAG.
        :param taken: Where the DAG writes down what it was given.
        """
        began = time.monotonic()
        for number, wave in enumerate(self._plan.waves):
            sim.admin("POST", "/catalog/items", {"items": wave})
            # Anywhere between the next look and the moment after its events are stored.
            time.sleep(self._chance.uniform(0.5, 4.0))
            if (harm := self._harm.get(number)) == "kill":
                self._say(f"wave {number}: the triggerer is killed")
                airflow.kill("triggerer")
                airflow.restart("triggerer")
            elif harm == "pause":
                self._say(f"wave {number}: the triggerer is paused for {_PAUSE_S:.0f} s")
                airflow.pause("triggerer")
                time.sleep(_PAUSE_S)
                airflow.resume("triggerer")
        expected = {_name(item["id"]) for wave in self._plan.waves for item in wave}
        self._say("everything is published")
        self._wait(airflow, taken, len(expected))
        return self._outcome(airflow, taken, expected, time.monotonic() - began)

    def _wait(self, airflow: AirflowStack, taken: Path, count: int) -> None:
        """Wait until as many are taken as there are, and some seconds for what should not come."""

        def enough(seen: tuple[int, int]) -> bool:
            return seen[0] >= count and seen[1] == 0

        airflow.api.until(lambda: (len(_taken(taken)[0]), _unfinished(airflow)), enough, 240, f"{count} acquisitions")
        time.sleep(_SETTLE_S)
        airflow.api.until(lambda: _unfinished(airflow), lambda number: number == 0, 120, "the last runs")

    def _outcome(self, airflow: AirflowStack, taken: Path, expected: set[str], seconds: float) -> Outcome:
        asset = airflow.api.call("GET", "/assets", name_pattern="watched")["assets"][0]
        store = {
            entry["key"]: entry["value"]
            for entry in airflow.api.call("GET", f"/assets/{asset['id']}/state-store", limit=_PAGE)["asset_state_store"]
        }
        head = next(value for key, value in store.items() if key.endswith(".head"))
        events: list[Any] = []
        while True:
            page = airflow.api.call("GET", "/assets/events", asset_id=asset["id"], limit=_PAGE, offset=len(events))
            events += page["asset_events"]
            if not page["asset_events"] or len(events) >= page["total_entries"]:
                break
        reported = Counter(_name(event["extra"]["payload"]["item_id"]) for event in events)
        handed, marked, runs = _taken(taken)
        return Outcome(
            self._plan,
            self._kills,
            self._pauses,
            reported,
            handed,
            marked,
            runs,
            seconds,
            head["remembered"],
            {key: len(json.dumps(value)) for key, value in store.items()},
            expected,
        )


def _name(item_id: str) -> str:
    """Name an acquisition independently of what is tested: by tile, satellite and time of the datatake."""
    satellite, _, start, _, _, tile, _ = item_id.split("_")
    return f"{tile[1:]}sentinel-2{satellite[-1].lower()}{start}"


def _taken(folder: Path) -> tuple[Counter[str], int, int]:
    found: Counter[str] = Counter()
    marked = runs = 0
    for each in folder.glob("*.json"):
        try:
            told = json.loads(each.read_text(encoding="utf-8"))
        except ValueError:
            # It is being written.
            continue
        found.update(_name(item_id) for _, item_id in told["acquisitions"])
        marked, runs = marked + told["repeated"], runs + 1
    return found, marked, runs


def _unfinished(airflow: AirflowStack) -> int:
    states = [("state", "queued"), ("state", "running")]
    return sum(
        int(airflow.api.call("GET", f"/dags/{DAG_ID}/dagRuns", limit=1, **{name: value})["total_entries"])
        for name, value in states
    )
