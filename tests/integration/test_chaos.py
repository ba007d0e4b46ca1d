"""A small form of ``make chaos``: it is long enough to see everything die once, and to see that it can fail."""

from __future__ import annotations

import itertools
import json
import re
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from pyarrow import parquet

from airflow_provider_sentinelhub.simulator.caller import Answer, call
from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools import chaos
from devtools.chaos_actions import Action, Scene
from devtools.chaos_gate import Gate, Manner
from devtools.chaos_outages import Outage, Place
from devtools.chaos_parts import parts
from devtools.chaos_plans import Plan, plans
from devtools.chaos_stack import Lane
from devtools.chaos_statistics import statistics_faults
from devtools.chaos_steps import KILLS, STEPS
from devtools.chaos_variants import Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def row(printed: str, name: str) -> list[str]:
    """Return the cells of a row of the first table."""
    found = re.search(rf"^{name} .*$", printed, re.MULTILINE)
    assert found is not None, printed
    return found[0].split()[1:]


def first(count: int, seed: int) -> list[Plan]:
    return list(itertools.islice(plans(seed), count))


@pytest.mark.integration
@pytest.mark.timeout(900)
def test_every_batch_is_started_once_whoever_dies(capsys: pytest.CaptureFixture[str]) -> None:
    status = chaos.main(["--seed", "229", "--runs", "7", "--lanes", "5", "--quick", "--scenes", "2"])
    printed = capsys.readouterr().out
    assert status == 0, printed
    runs, _, kills, _, _, started, orphans, right = row(printed, "all")
    assert (runs, started, orphans, right) == ("7", "1", "0", "7")
    assert int(kills) >= 6
    for variant in ("deferred_statistical", "blocking_statistical", "blocking_statistical_rerun"):
        assert row(printed, variant)[0] == "1", printed
    assert len(re.findall(r"^(?:let|mark|clear).*yes$", printed, re.MULTILINE)) == 4, printed


@pytest.mark.integration
@pytest.mark.timeout(900)
def test_without_record_and_search_there_are_duplicates(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--variants", "blocking_mapped,blocking_statistical", "--steps", "13,15", "--quick", "--scenes", "0"]
    status = chaos.main(["--seed", "5", "--runs", "4", "--lanes", "4", "--naive", *options])
    printed = capsys.readouterr().out
    assert status == 1, printed
    for variant in ("blocking_mapped", "blocking_statistical"):
        started = row(printed, variant)[5]
        assert int(started.split("..")[-1]) > 1, printed


@pytest.fixture
def answers(tmp_path: Path) -> list[dict[str, Any]]:
    """What a task and its rerun wrote, one interval of two features: the rows a table should have."""
    rows = []
    for folder, number, mean in (("run", 1, 0.25), ("run/statistics-t0.reruns/t1", 2, "NaN")):
        where = {"from": "2025-05-05T00:00:00Z", "to": "2025-05-12T00:00:00Z"}
        outputs = {"red": {"bands": {"B0": {"stats": {"mean": mean}}}}}
        answer = {"response": {"data": [{"interval": where, "outputs": outputs}]}}
        (tmp_path / folder).mkdir(parents=True)
        text = json.dumps({"id": number, "identifier": f"parcel-{number}", **answer})
        (tmp_path / folder / f"{number}.json").write_text(text)
        about = {"identifier": f"parcel-{number}", "interval_from": datetime(2025, 5, 5, tzinfo=UTC), "output": "red"}
        rows.append({**about, "band": "B0", "mean": None if mean == "NaN" else mean, "error": None})
    (tmp_path / "run" / "2.json").write_text(json.dumps({"id": 2, "identifier": "parcel-2", "error": {"type": "X"}}))
    return rows


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda rows: rows, None),
        (lambda rows: [*rows, rows[0]], "1 statistics are in the table more than once"),
        (lambda rows: rows[:1], "1 of 2 statistics are not in the table"),
        (lambda rows: [rows[0], {**rows[1], "band": "B1"}], "1 statistics in the table were never written"),
        (lambda rows: [{**rows[0], "mean": 0.5}, rows[1]], "1 means are not what the service wrote"),
        (lambda rows: [rows[0], {**rows[1], "error": "TIMEOUT"}], "the table has rows with errors"),
    ],
)
def test_a_table_that_is_not_what_the_service_wrote_is_a_fault(
    tmp_path: Path, answers: list[dict[str, Any]], change: Callable[[Any], Any], fault: str | None
) -> None:
    schema = pa.schema([(name, pa.string()) for name in ("identifier", "output", "band", "error")])
    schema = schema.append(pa.field("interval_from", pa.timestamp("us", "UTC"))).append(pa.field("mean", pa.float64()))
    parquet.write_table(pa.Table.from_pylist(change(answers), schema), tmp_path / "run" / "statistics-t0.parquet")
    result = {"task_ids": ["t0", "t1"], "statistics_url": "s3://bucket/run/statistics-t0.parquet"}
    found = statistics_faults(tmp_path, result, {"parcel-1", "parcel-2"})
    if fault is None:
        assert found == []
        assert len(statistics_faults(tmp_path, result, {"parcel-1", "parcel-2", "parcel-3"})) == 1
    else:
        assert any(each.startswith(fault) for each in found), found


@pytest.fixture(scope="module")
def lane() -> Iterator[tuple[Simulator, Lane]]:
    with Simulator.start() as sim, Gate(sim.ready.base_url) as service, Gate(sim.ready.s3_endpoint) as bucket:
        yield sim, Lane(0, service, bucket)


def statuses(sim: Simulator, lane: Lane) -> dict[Place, int]:
    """What the service answers through the gates; 0 where it does not."""
    form = {"grant_type": "client_credentials", "client_id": "simulator", "client_secret": "simulator-secret"}
    token_path = urlsplit(sim.ready.token_url).path

    def status(send: Callable[[], Answer]) -> int:
        try:
            return send().status
        except OSError:
            return 0

    return {
        Place.TOKENS: status(lambda: call("POST", f"{lane.service.url}{token_path}", form=form)),
        Place.API: status(lambda: call("GET", f"{lane.service.url}/batch/v2/process")),
        Place.BUCKET: status(lambda: call("GET", f"{lane.bucket.url}/{sim.ready.bucket}")),
    }


@pytest.mark.parametrize(("manner", "status"), [(Manner.BUSY, 503), (Manner.RESET, 0)])
@pytest.mark.parametrize("place", Place)
def test_an_outage_is_of_one_place_and_ends(
    lane: tuple[Simulator, Lane], place: Place, manner: Manner, status: int
) -> None:
    sim, gates = lane
    before = statuses(sim, gates)
    assert all(200 <= answer < 500 for answer in before.values())
    with Outage(place, manner).over(gates, sim):
        assert statuses(sim, gates) == {**before, place: status}
    assert statuses(sim, gates) == before


def test_a_token_is_worth_nothing_once_the_token_endpoint_is_out_of_order(lane: tuple[Simulator, Lane]) -> None:
    sim, gates = lane
    sim.fetch_token()
    assert sim.admin("GET", "/tokens")["valid"] > 0
    with Outage(Place.TOKENS, Manner.BUSY).over(gates, sim):
        assert sim.admin("GET", "/tokens")["valid"] == 0


def test_who_is_silent_answers_nobody_until_the_end(lane: tuple[Simulator, Lane]) -> None:
    sim, gates = lane
    with ThreadPoolExecutor(1) as pool:
        with Outage(Place.API, Manner.SILENT).over(gates, sim):
            asked = pool.submit(statuses, sim, gates)
            assert wait([asked], timeout=1.0).not_done
        assert asked.result()[Place.API] == 0


def scenes_of(*words: str) -> list[Scene]:
    return [scene for part in parts(chaos.arguments(words)) for scene in part.scenes]


def test_the_long_form_has_every_kind_of_outage() -> None:
    found = {(scene.action, scene.outage.place) for scene in scenes_of("--long") if scene.outage}
    assert found >= set(itertools.product((Action.FAIL, Action.WAIT, Action.KILL), Place))
    assert all(scene.outage.seconds > 120 for scene in scenes_of("--long") if scene.outage)


def test_scenes_can_be_chosen() -> None:
    assert {scene.action for scene in scenes_of("--actions", "second")} == {Action.TWIN_FAIL, Action.TWIN_CLEAR}
    assert not any(scene.outage for scene in scenes_of("--quick", "--long"))
    assert len(scenes_of("--scenes", "1", "--parts", "ended,running")) == 2
    assert {scene.variant for scene in scenes_of("--variants", "blocking", "--actions", "clear")} == {
        "blocking", "blocking_new", "blocking_adopt",
    }  # fmt: skip
    names = [scene.run_id for scene in scenes_of("--long")]
    assert len(set(names)) == len(names)


def test_every_step_of_every_variant_is_struck_in_every_way() -> None:
    wanted = {
        (variant, step.number, harm)
        for variant in Variant
        for step in STEPS
        if step.occurs(variant)
        for harm in step.harms(variant)
    }
    drawn = {
        (plan.variant, strike.step.number, strike.harm) for plan in first(80_000, seed=1) for strike in plan.strikes
    }
    assert wanted - drawn == set()
    assert drawn - wanted == set()


def test_the_same_seed_draws_the_same_harm() -> None:
    assert first(50, seed=7) == first(50, seed=7)
    assert first(50, seed=7) != first(50, seed=8)


def test_most_harm_kills() -> None:
    strikes = [strike for plan in first(300, seed=3) for strike in plan.strikes]
    assert sum(strike.harm in KILLS for strike in strikes) > len(strikes) / 2
