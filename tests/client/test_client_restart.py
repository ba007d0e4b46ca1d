"""The service's own restart of what failed, and a stop while it is on its way."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.apis.batch_v1.answers import BatchV1Task
from airflow_provider_sentinelhub.client.apis.batch_v1.spec import BATCH_V1
from airflow_provider_sentinelhub.client.http.call import Call, Pause
from airflow_provider_sentinelhub.client.lifecycle import procedures

REFUSED = errors.IllegalAction("Only requests with status PARTIAL can be restarted.", status=400)


def task(status: str, action: str = "START") -> BatchV1Task:
    return BatchV1Task(id="t-1", status=status, user_action=action)


def carried_out(procedure: Any, **answers: Any) -> tuple[Any, list[str]]:
    """
    Run a procedure with answers by the last word of the path, in order; the last one is repeated.

    Returns its result and the Calls, without reads of the task.
    """
    sent: list[str] = []
    result: Any = None
    try:
        asked = next(procedure)
        while True:
            if isinstance(asked, Pause):
                asked = procedure.send(None)
                continue
            assert isinstance(asked, Call)
            name = asked.path.rpartition("/")[2].replace("t-1", "task")
            if name != "task":
                sent.append(name)
            answer = answers[name].pop(0) if len(answers[name]) > 1 else answers[name][0]
            asked = procedure.throw(answer) if isinstance(answer, Exception) else procedure.send(answer)
    except StopIteration as end:
        result = end.value
    return result, sent


@pytest.mark.parametrize("answer", [None, REFUSED])
def test_the_status_is_read_until_it_has_left_partial(answer: Any) -> None:
    states = [task("PARTIAL"), task("PARTIAL"), task("PROCESSING")]
    found, sent = carried_out(
        procedures.restart(BATCH_V1, task("PARTIAL")), restartpartial=[answer], task=states, tiles=[False]
    )
    assert (found.status, sent.count("restartpartial")) == ("PROCESSING", 1)


def test_one_that_is_done_carries_on() -> None:
    found, sent = carried_out(
        procedures.restart(BATCH_V1, task("PARTIAL")), restartpartial=[REFUSED], task=[task("DONE")]
    )
    assert (found.status, sent) == ("DONE", ["restartpartial"])


def test_one_that_has_failed_again_is_told_by_its_failed_tiles() -> None:
    found, sent = carried_out(
        procedures.restart(BATCH_V1, task("PARTIAL")), restartpartial=[None], task=[task("PARTIAL")], tiles=[True]
    )
    assert (found.status, sent.count("restartpartial"), sent.count("tiles")) == ("PARTIAL", 1, 9)


def test_a_refusal_for_good_is_told() -> None:
    refusal = errors.PermissionDenied("no", status=403)
    with pytest.raises(errors.PermissionDenied) as caught:
        carried_out(procedures.restart(BATCH_V1, task("PARTIAL")), restartpartial=[refusal])
    assert caught.value.refuses_action


def test_a_stop_waits_for_a_restart_that_is_on_its_way() -> None:
    # Read, cancelled without effect and read again; then the restart has arrived.
    states = [task("PARTIAL"), task("PARTIAL"), task("PROCESSING"), task("CANCELED", "CANCEL")]
    found, sent = carried_out(procedures.stop(BATCH_V1, "t-1", action_on_its_way=True), cancel=[None], task=states)
    assert (found.status, sent) == ("CANCELED", ["cancel", "cancel"])


def test_a_partial_task_is_not_stopped() -> None:
    found, sent = carried_out(procedures.stop(BATCH_V1, "t-1"), task=[task("PARTIAL")])
    assert (found.status, sent) == ("PARTIAL", [])


def test_a_cancelled_task_is_never_started_again() -> None:
    from airflow_provider_sentinelhub.client.lifecycle.spec import Goal, NextStep

    for goal in Goal:
        assert BATCH_V1.next_step(task("CANCELED", "CANCEL"), goal) is NextStep.FINISH
