from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.http.auth import TokenSource
from airflow_provider_sentinelhub.client.http.call import Call
from airflow_provider_sentinelhub.client.http.deployments import ServiceAddress
from airflow_provider_sentinelhub.client.http.policy import RetryLimits
from airflow_provider_sentinelhub.client.http.transport import Sender
from airflow_provider_sentinelhub.client.lifecycle import procedures
from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
from airflow_provider_sentinelhub.client.lifecycle.spec import Capabilities, Goal, NextStep
from airflow_provider_sentinelhub.client.lifecycle.submission import find, obtain
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.client.client_harness import build_document, make_task
from tests.client.client_model import START, Service, carry_out

INTENTS = [Intent("dag", "run", "task", index, "0123456789abcdef", 0) for index in (-1, 0, 1)]
BODY = build_document(description="Corsica")
SINCE = START - timedelta(seconds=1)


def obtaining(intent: Intent, recorded: str | None = None) -> Any:
    return obtain(BATCH_V2, intent, BODY, (), recorded=recorded, since=SINCE)


# --- single stories --------------------------------------------------------------------------------------------------


def test_nothing_is_created_where_there_is_a_task() -> None:
    service = Service()
    first = carry_out(service, obtaining(INTENTS[0]))
    assert carry_out(service, obtaining(INTENTS[0])).id == first.id
    assert carry_out(service, obtaining(INTENTS[0], first.id)).id == first.id
    assert carry_out(service, obtaining(INTENTS[1])).id != first.id
    assert service.log.count("POST /process") == 2
    assert service.tasks[first.id].description == f"Corsica | {INTENTS[0].tag}"


def test_a_recorded_task_that_is_gone_is_replaced() -> None:
    service = Service()
    assert carry_out(service, obtaining(INTENTS[0], "deleted")).id == "t1"


def test_a_clear_means_a_new_task_and_other_work_as_well() -> None:
    service = Service()
    intent = INTENTS[0]
    others = [
        Intent(intent.dag_id, intent.run_id, intent.task_id, -1, intent.digest, 1),
        Intent(intent.dag_id, intent.run_id, intent.task_id, -1, "f" * 16, 0),
    ]
    assert len({carry_out(service, obtaining(each)).id for each in (intent, *others)}) == 3


@pytest.mark.parametrize("faults", [["none", "lost after"], ["none", "lost before"]])
def test_a_lost_answer_leads_to_a_search_and_to_one_task(faults: list[str]) -> None:
    service = Service(list_lag=6.0, faults=faults)
    carry_out(service, obtaining(INTENTS[0]))
    assert len(service.tasks) == 1


def test_creating_is_given_up_when_every_answer_is_lost() -> None:
    service = Service(faults=["none", *(["lost before"] + ["none"] * 4) * 4])
    with pytest.raises(errors.OutcomeUnknown):
        carry_out(service, obtaining(INTENTS[0]))
    assert service.log.count("POST /process") == 4


def test_a_refusal_of_the_creation_is_final() -> None:
    procedure = obtaining(INTENTS[0])
    procedure.send(None)
    procedure.send(Service().answer(BATCH_V2.calls.page(None)))
    with pytest.raises(errors.InvalidRequest):
        procedure.throw(errors.InvalidRequest("no"))


def test_stopping_waits_until_a_started_task_can_be_stopped() -> None:
    service = Service(step_seconds=60)
    task = carry_out(service, obtaining(INTENTS[0]))
    carry_out(service, procedures.act(BATCH_V2, task, Goal.RUN))
    assert service.tasks[task.id].status == "CREATED"
    stopped = carry_out(service, procedures.stop(BATCH_V2, task.id))
    assert stopped is not None
    assert (stopped.status, stopped.user_action) == ("ANALYSING", "STOP")


def test_stopping_is_given_up_after_minutes() -> None:
    service = Service(step_seconds=1e9)
    task = carry_out(service, obtaining(INTENTS[0]))
    carry_out(service, procedures.act(BATCH_V2, task, Goal.RUN))
    started = service.now
    carry_out(service, procedures.stop(BATCH_V2, task.id))
    assert 300 < service.now - started < 900


def test_what_was_never_started_is_not_stopped_for_long() -> None:
    service = Service()
    task = carry_out(service, obtaining(INTENTS[0]))
    left = carry_out(service, procedures.stop(BATCH_V2, task.id))
    assert left is not None
    assert left.status == "CREATED"
    assert service.now < 10


def test_what_is_gone_or_over_needs_no_stopping() -> None:
    service = Service()
    assert carry_out(service, procedures.stop(BATCH_V2, "nobody")) is None
    task = carry_out(service, obtaining(INTENTS[0]))
    carry_out(service, procedures.act(BATCH_V2, task, Goal.RUN))
    service.advance(1000)
    before = len(service.log)
    over = carry_out(service, procedures.stop(BATCH_V2, task.id))
    assert over is not None
    assert over.status == "DONE"
    assert service.log[before:] == [f"GET /process/{task.id}"]


@pytest.mark.parametrize("lag", [0.0, 1.0, 5.0, 60.0])
@pytest.mark.parametrize("goal", [Goal.RUN, Goal.ANALYSE_THEN_RUN])
def test_acting_again_and_again_reaches_the_end_with_one_start(goal: Goal, lag: float) -> None:
    service = Service(read_lag=lag)
    task = carry_out(service, obtaining(INTENTS[0]))
    for _ in range(100):
        task = carry_out(service, procedures.act(BATCH_V2, task, goal))
        if BATCH_V2.is_over(task):
            break
        service.advance(10)
        task = carry_out(service, obtaining(INTENTS[0], task.id))
    assert task.status == "DONE"
    assert service.tasks[task.id].starts == 1


@pytest.mark.parametrize("goal", [Goal.RUN, Goal.ANALYSE_THEN_RUN])
def test_the_service_may_not_know_yet_what_is_started(goal: Goal) -> None:
    task = carry_out(service := Service(), obtaining(INTENTS[0]))
    step = next(procedures.act(BATCH_V2, task, goal))
    assert isinstance(step, Call)
    assert step.method == "POST"
    assert step.fresh, service.log


# --- the next step ---------------------------------------------------------------------------------------------------

RUN, BOTH, ANALYSE, OBSERVE = Goal.RUN, Goal.ANALYSE_THEN_RUN, Goal.ANALYSE, Goal.OBSERVE
THROUGH, RESUME = Goal.RUN_THROUGH, Goal.RESUME


@pytest.mark.parametrize(
    ("status", "action", "steps"),
    [
        ("CREATED", "NONE", {RUN: "start", BOTH: "analyse", ANALYSE: "analyse", OBSERVE: "wait"}),
        ("CREATED", "START", dict.fromkeys(Goal, "wait")),
        ("CREATED", "ANALYSE", dict.fromkeys(Goal, "wait")),
        ("ANALYSING", "ANALYSE", dict.fromkeys(Goal, "wait")),
        ("ANALYSING", "START", dict.fromkeys(Goal, "wait")),
        ("ANALYSIS_DONE", "ANALYSE", {RUN: "start", BOTH: "start", ANALYSE: "finish", OBSERVE: "wait"}),
        ("ANALYSIS_DONE", "START", {RUN: "wait", BOTH: "wait", ANALYSE: "finish", OBSERVE: "wait"}),
        ("ANALYSIS_DONE", "STOP", {RUN: "wait", BOTH: "wait", ANALYSE: "finish", OBSERVE: "wait"}),
        ("PROCESSING", "START", {RUN: "wait", BOTH: "wait", ANALYSE: "finish", OBSERVE: "wait"}),
        ("DONE", "START", dict.fromkeys(Goal, "finish")),
        ("DONE", "ANALYSE", dict.fromkeys(Goal, "finish")),
        ("FAILED", "START", dict.fromkeys(Goal, "finish")),
        ("STOPPED", "STOP", dict.fromkeys(Goal, "finish")),
        ("HIBERNATING", "NONE", dict.fromkeys(Goal, "wait")),
    ],
)
def test_the_next_step(status: str, action: str, steps: dict[Goal, str]) -> None:
    task = make_task(status=status, userAction=action)
    # Only a stop for lack of processing units tells the two apart, and there is none here.
    expected = {THROUGH: steps[RUN], **steps, RESUME: "start" if status == "STOPPED" else "finish"}
    assert {goal: BATCH_V2.next_step(task, goal) for goal in Goal} == {goal: NextStep(expected[goal]) for goal in Goal}


@pytest.mark.parametrize(
    ("reason", "step"), [("OUT_OF_PU", "start"), ("USER_ACTION", "finish"), ("UNHEALTHY", "finish")]
)
def test_only_a_lack_of_units_is_waited_out_and_only_where_asked(reason: str, step: str) -> None:
    task = make_task(status="STOPPED", userAction="START", stoppedStatusReason=reason)
    assert BATCH_V2.next_step(task, THROUGH) is NextStep(step)
    assert BATCH_V2.next_step(task, RESUME) is NextStep.START
    assert {BATCH_V2.next_step(task, goal) for goal in Goal if goal not in {THROUGH, RESUME}} == {NextStep.FINISH}


def test_a_percentage_says_nothing_about_the_end() -> None:
    task = make_task(status="PROCESSING", userAction="START", completionPercentage=100)
    assert not BATCH_V2.is_over(task)
    assert BATCH_V2.next_step(task, Goal.RUN) is NextStep.WAIT


# --- APIs that can do less -------------------------------------------------------------------------------------------

AT_ONCE = Capabilities(analyse=False, start=False)
WITHOUT_ANALYSIS = Capabilities(analyse=False)


@pytest.mark.parametrize(
    ("can", "status", "steps"),
    [
        (AT_ONCE, "CREATED", {ANALYSE: "finish", RESUME: "finish"}),
        (AT_ONCE, "ANALYSIS_DONE", {ANALYSE: "finish", RESUME: "finish"}),
        (AT_ONCE, "PROCESSING", {ANALYSE: "finish", RESUME: "finish"}),
        (AT_ONCE, "STOPPED", dict.fromkeys(Goal, "finish")),
        (AT_ONCE, "DONE", dict.fromkeys(Goal, "finish")),
        # What it costs cannot be judged by an analysis: who wants only that gets the task back as it is.
        (
            WITHOUT_ANALYSIS,
            "CREATED",
            {RUN: "start", THROUGH: "start", BOTH: "start", ANALYSE: "finish", RESUME: "finish"},
        ),
        (WITHOUT_ANALYSIS, "PROCESSING", {ANALYSE: "finish", RESUME: "finish"}),
        (WITHOUT_ANALYSIS, "STOPPED", {**dict.fromkeys(Goal, "finish"), THROUGH: "start", RESUME: "start"}),
    ],
)
def test_the_next_step_where_less_is_possible(can: Capabilities, status: str, steps: dict[Goal, str]) -> None:
    task = make_task(status=status, stoppedStatusReason="OUT_OF_PU" if status == "STOPPED" else None)
    api = replace(BATCH_V2, can=can)
    assert {goal: api.next_step(task, goal) for goal in Goal} == {
        goal: NextStep(steps.get(goal, "wait")) for goal in Goal
    }


@pytest.mark.parametrize("goal", list(Goal))
def test_nothing_is_asked_of_a_task_that_runs_at_once(goal: Goal) -> None:
    service = Service(runs_at_once=True)
    api = replace(BATCH_V2, can=AT_ONCE)
    task = carry_out(service, obtain(api, INTENTS[0], BODY, (), recorded=None, since=SINCE))
    assert (task.status, task.user_action) == ("CREATED", "NONE")
    assert api.is_running(task)
    assert not BATCH_V2.is_running(task)
    assert carry_out(service, procedures.act(api, task, goal)) == task
    assert service.log == ["GET /process", "POST /process"]


def test_a_task_that_runs_at_once_can_be_stopped_before_anything_shows() -> None:
    service = Service(runs_at_once=True)
    api = replace(BATCH_V2, can=AT_ONCE)
    task = carry_out(service, obtain(api, INTENTS[0], BODY, (), recorded=None, since=SINCE))
    assert api.can_stop(task)
    assert not BATCH_V2.can_stop(task)
    assert carry_out(service, procedures.stop(api, task.id)) is not None
    assert service.tasks[task.id].action == "STOP"


@pytest.mark.parametrize("is_there", [True, False])
def test_where_no_task_can_be_stopped_it_is_only_read(is_there: bool) -> None:
    service = Service(step_seconds=60)
    api = replace(BATCH_V2, can=Capabilities(stop=False))
    task = carry_out(service, obtaining(INTENTS[0]))
    carry_out(service, procedures.act(api, task, Goal.RUN))
    service.advance(190)
    before = len(service.log)
    left = carry_out(service, procedures.stop(api, task.id if is_there else "nobody"))
    assert (left.status if left else None) == ("PROCESSING" if is_there else None)
    assert len(service.log) == before + 1
    assert not api.can_stop(make_task(status="PROCESSING", userAction="START"))


# --- searching -------------------------------------------------------------------------------------------------------


def test_a_search_turns_pages_until_it_finds() -> None:
    service = Service(page_size=10)
    wanted = service.add(f"old | {INTENTS[0].tag}")
    for number in range(95):
        service.advance(1)
        service.add(f"foreign {number}")
    (found,) = carry_out(service, find(BATCH_V2, INTENTS[0], SINCE))
    assert found.id == wanted.id
    # They are read again, for something may have been deleted meanwhile.
    assert service.log == ["GET /process"] * 2 * 10


@pytest.mark.parametrize(("page_size", "calls"), [(100, 1), (40, 1), (10, 2 * 4)])
def test_a_search_goes_back_no_further_than_needed(page_size: int, calls: int) -> None:
    service = Service(page_size=page_size)
    service.add(f"too old | {INTENTS[0].tag}")
    for number in range(195):
        service.advance(1)
        service.add(f"foreign {number}")
    assert carry_out(service, find(BATCH_V2, INTENTS[0], START + timedelta(seconds=180.5))) == []
    assert service.log == ["GET /process"] * calls


def test_a_search_finds_the_newest_and_ends_on_an_empty_list() -> None:
    service = Service()
    assert carry_out(service, find(BATCH_V2, INTENTS[0], SINCE)) == []
    for _ in range(3):
        service.advance(1)
        newest = service.add(INTENTS[0].tag)
    found = carry_out(service, find(BATCH_V2, INTENTS[0], SINCE))
    assert found[0].id == newest.id
    assert len(found) == 3


# --- on the wire -----------------------------------------------------------------------------------------------------


def for_simulator(sim: Simulator) -> tuple[dict[str, Any], tuple[str, ...]]:
    ready = sim.ready
    s3 = {"url": f"s3://{ready.bucket}/x", "accessKey": ready.access_key_id, "secretAccessKey": ready.secret_access_key}
    return build_document(output__delivery={"s3": s3}), (ready.secret_access_key,)


async def test_a_blocking_and_an_async_caller_share_one_task(
    sim: Simulator, address: ServiceAddress, tokens: TokenSource, limits: RetryLimits
) -> None:
    import time

    import aiohttp

    from airflow_provider_sentinelhub.client.http.transport import AsyncSender

    sim.set_script({"endpoints": [{"method": "POST", "path": "/process$", "action": "drop_after", "count": 1}]})
    intent = Intent("dag", f"run {time.time_ns()}", "task", -1, "0123456789abcdef", 0)
    body, secrets = for_simulator(sim)
    sender = Sender(address, tokens, limits)
    before = len(sim.tasks())

    def obtaining_() -> Any:
        return obtain(BATCH_V2, intent, body, secrets, recorded=None, since=SINCE)

    first = await asyncio.to_thread(sender.run, obtaining_())
    async with aiohttp.ClientSession() as session:
        asynchronous = AsyncSender(address, tokens, session, limits)
        second = await asynchronous.run(obtaining_())
        assert second.id == first.id
        assert len(sim.tasks()) == before + 1
        started = await asynchronous.run(procedures.act(BATCH_V2, second, Goal.RUN))
        assert started.user_action == "START"
        again = await asyncio.to_thread(sender.run, procedures.act(BATCH_V2, second, Goal.RUN))
        assert again.user_action == "START"
        stopped = await asynchronous.run(procedures.stop(BATCH_V2, second.id))
        assert stopped is not None
        with pytest.raises(errors.NotFound):
            await asynchronous.run(procedures.act(BATCH_V2, make_task(id="nobody"), Goal.RUN))
    with pytest.raises(errors.NotFound):
        sender.run(procedures.act(BATCH_V2, make_task(id="nobody"), Goal.RUN))
    events = [event["event"] for event in sim.task(first.id)["history"]]
    assert events.count("user START") == 1
    assert events.count("user STOP") <= 1
    sender.close()
