"""A short form of ``make chaos``: long enough to inject each fault once, and to show that it can fail."""

from __future__ import annotations

import itertools
import json
import re
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pyarrow as pa
import pytest
from pyarrow import parquet

from airflow_provider_sentinelhub.simulator.caller import Answer, call
from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.chaos.__main__ import arguments, main
from devtools.chaos.faults import KILLS, Outage, Target
from devtools.chaos.proxy import FailureMode, Proxy
from devtools.chaos.records import is_running, statistics_violations, twice
from devtools.chaos.runs import RunPlan, plans
from devtools.chaos.scenarios import Action, Scenario, groups
from devtools.chaos.stack import Lane
from devtools.chaos.steps import STEPS, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def row(printed: str, name: str) -> list[str]:
    """Return the cells of a row of the first table."""
    found = re.search(rf"^{name} .*$", printed, re.MULTILINE)
    assert found is not None, printed
    return found[0].split()[1:]


def first(count: int, seed: int) -> list[RunPlan]:
    return list(itertools.islice(plans(seed), count))


@pytest.mark.integration
@pytest.mark.timeout(900)
def test_every_batch_is_started_once_whoever_dies(capsys: pytest.CaptureFixture[str]) -> None:
    scenarios = ["--groups", "ended,running", "--scenarios", "2"]
    status = main(["--seed", "1028", "--runs", "7", "--lanes", "5", "--quick", *scenarios])
    printed = capsys.readouterr().out
    assert status == 0, printed
    runs, _, kills, _, _, started, _, orphans, right = row(printed, "all")
    assert (runs, started, orphans, right) == ("7", "1", "0", "7")
    assert int(kills) >= 6
    expected = ("deferred_statistical", "blocking_statistical_rerun", "blocking_v1_restart", "blocking_async")
    for variant in expected:
        assert row(printed, variant)[0] == "1", printed
    assert len(re.findall(r"^(?:let|mark|clear).*yes$", printed, re.MULTILINE)) == 4, printed


@pytest.mark.integration
@pytest.mark.timeout(900)
def test_without_record_and_search_there_are_duplicates(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--variants", "blocking_mapped,blocking_statistical", "--steps", "13,15", "--quick", "--scenarios", "0"]
    status = main(["--seed", "5", "--runs", "4", "--lanes", "4", "--naive", *options])
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
    ("change", "violation"),
    [
        (lambda rows: rows, None),
        (lambda rows: [*rows, rows[0]], "1 statistics are in the table more than once"),
        (lambda rows: rows[:1], "1 of 2 statistics are not in the table"),
        (lambda rows: [rows[0], {**rows[1], "band": "B1"}], "1 statistics in the table were never written"),
        (lambda rows: [{**rows[0], "mean": 0.5}, rows[1]], "1 means are not what the service wrote"),
        (lambda rows: [rows[0], {**rows[1], "error": "TIMEOUT"}], "the table has rows with errors"),
    ],
)
def test_a_table_that_is_not_what_the_service_wrote_is_a_violation(
    tmp_path: Path, answers: list[dict[str, Any]], change: Callable[[Any], Any], violation: str | None
) -> None:
    schema = pa.schema([(name, pa.string()) for name in ("identifier", "output", "band", "error")])
    schema = schema.append(pa.field("interval_from", pa.timestamp("us", "UTC"))).append(pa.field("mean", pa.float64()))
    parquet.write_table(pa.Table.from_pylist(change(answers), schema), tmp_path / "run" / "statistics-t0.parquet")
    result = {"task_ids": ["t0", "t1"], "statistics_url": "s3://bucket/run/statistics-t0.parquet"}
    found = statistics_violations(tmp_path, result, {"parcel-1", "parcel-2"})
    if violation is None:
        assert found == []
        assert len(statistics_violations(tmp_path, result, {"parcel-1", "parcel-2", "parcel-3"})) == 1
    else:
        assert any(each.startswith(violation) for each in found), found


@pytest.fixture(scope="module")
def lane() -> Iterator[tuple[Simulator, Lane]]:
    with Simulator.start(quick=True) as sim:  # noqa: SIM117 - on one line it is too long
        with Proxy(sim.ready.base_url) as service, Proxy(sim.ready.s3_endpoint) as bucket:
            yield sim, Lane(0, service, bucket)


def statuses(sim: Simulator, lane: Lane) -> dict[Target, int]:
    """What the service answers through the proxies; 0 where it does not."""
    form = {"grant_type": "client_credentials", "client_id": "simulator", "client_secret": "simulator-secret"}
    token_path = urlsplit(sim.ready.token_url).path

    def status(send: Callable[[], Answer]) -> int:
        try:
            return send().status
        except OSError:
            return 0

    return {
        Target.TOKENS: status(lambda: call("POST", f"{lane.service.url}{token_path}", form=form)),
        Target.API: status(lambda: call("GET", f"{lane.service.url}/batch/v2/process")),
        Target.BUCKET: status(lambda: call("GET", f"{lane.bucket.url}/{sim.ready.bucket}")),
    }


@pytest.mark.parametrize(("mode", "status"), [(FailureMode.BUSY, 503), (FailureMode.RESET, 0)])
@pytest.mark.parametrize("target", Target)
def test_an_outage_has_one_target_and_ends(
    lane: tuple[Simulator, Lane], target: Target, mode: FailureMode, status: int
) -> None:
    sim, proxies = lane
    before = statuses(sim, proxies)
    assert all(200 <= answer < 500 for answer in before.values())
    with Outage(target, mode).over(proxies, sim):
        assert statuses(sim, proxies) == {**before, target: status}
    assert statuses(sim, proxies) == before


def test_tokens_are_revoked_when_the_token_endpoint_is_down(lane: tuple[Simulator, Lane]) -> None:
    sim, proxies = lane
    sim.fetch_token()
    assert sim.admin("GET", "/tokens")["valid"] > 0
    with Outage(Target.TOKENS, FailureMode.BUSY).over(proxies, sim):
        assert sim.admin("GET", "/tokens")["valid"] == 0


def test_a_silent_api_answers_no_call_before_the_outage_ends(lane: tuple[Simulator, Lane]) -> None:
    sim, proxies = lane
    with ThreadPoolExecutor(1) as pool:
        with Outage(Target.API, FailureMode.SILENT).over(proxies, sim):
            asked = pool.submit(statuses, sim, proxies)
            assert wait([asked], timeout=1.0).not_done
        assert asked.result()[Target.API] == 0


def scenarios_of(*words: str) -> list[Scenario]:
    return [scenario for group in groups(arguments(words)) for scenario in group.scenarios]


def test_the_long_form_has_every_kind_of_outage() -> None:
    found = {(scenario.action, scenario.outage.target) for scenario in scenarios_of("--long") if scenario.outage}
    assert found >= set(itertools.product((Action.FAIL, Action.WAIT, Action.KILL), Target))
    assert all(scenario.outage.seconds > 120 for scenario in scenarios_of("--long") if scenario.outage)


def test_scenarios_can_be_selected() -> None:
    assert {scenario.action for scenario in scenarios_of("--actions", "second")} == {
        Action.TWIN_FAIL,
        Action.TWIN_CLEAR,
    }
    assert not any(scenario.outage for scenario in scenarios_of("--quick", "--long"))
    assert len(scenarios_of("--scenarios", "1", "--groups", "ended,running")) == 2
    assert {scenario.variant for scenario in scenarios_of("--variants", "blocking", "--actions", "clear")} == {
        "blocking", "blocking_new", "blocking_adopt",
    }  # fmt: skip
    names = [scenario.run_id for scenario in scenarios_of("--long")]
    assert len(set(names)) == len(names)


def test_every_fault_is_drawn_for_every_step_of_every_variant() -> None:
    wanted = {
        (variant, step.number, fault)
        for variant in Variant
        for step in STEPS
        if step.occurs(variant)
        for fault in step.faults(variant)
    }
    drawn = {
        (plan.variant, injection.step.number, injection.fault)
        for plan in first(85_000, seed=1)
        for injection in plan.injections
    }
    assert wanted - drawn == set()
    assert drawn - wanted == set()


def test_the_same_seed_draws_the_same_faults() -> None:
    assert first(50, seed=7) == first(50, seed=7)
    assert first(50, seed=7) != first(50, seed=8)


def test_most_faults_are_kills() -> None:
    injections = [injection for plan in first(300, seed=3) for injection in plan.injections]
    assert sum(injection.fault in KILLS for injection in injections) > len(injections) / 2


def attempt(number: int, status: str, cost_pu: float = 0.0) -> dict[str, Any]:
    return {"number": number, "status": status, "cost_pu": cost_pu}


def test_a_feature_that_is_processed_or_paid_for_again_is_found() -> None:
    once = [attempt(1, "DONE", 2.0), attempt(2, "FATAL"), attempt(2, "DONE", 2.0)]
    assert twice({"attempts": once}) == 0
    assert twice({"attempts": [*once, attempt(1, "FATAL", 2.0)]}) == 1
    assert twice({"attempts": [*once, attempt(1, "DONE"), attempt(2, "DONE")]}) == 2


def test_a_task_that_is_about_to_be_restarted_still_runs() -> None:
    history = [{"event": event} for event in ("created", "user START", "status PROCESSING", "status PARTIAL")]
    task = {"api": "batch-v1", "status": "PARTIAL", "history": history}
    assert not is_running(task)
    history.append({"event": "user RESTART"})
    assert is_running(task)


def test_a_step_that_follows_a_call_is_not_marked_before_it(lane: tuple[Simulator, Lane]) -> None:
    _, proxies = lane
    path = re.compile("/restartpartial$")
    assert not proxies.has_seen(path)
    with pytest.raises(HTTPError):
        urlopen(f"{proxies.service.url}/api/v1/batch/process/1/restartpartial", data=b"{}")
    assert proxies.has_seen(path)
    proxies.restore()
    assert not proxies.has_seen(path)
