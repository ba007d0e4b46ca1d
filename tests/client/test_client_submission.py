"""
One started task for one intent, whatever is lost, late, repeated or killed: a state machine tries to show otherwise.

What is counted is tasks, over all there ever were: those whose tag is that of an intent, and those that an attempt with
this intent continued with, as far as the service ever accepted a start of them. The count is never reset.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.lifecycle import procedures
from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
from airflow_provider_sentinelhub.client.lifecycle.spec import Capabilities, Goal, TaskApiSpec
from airflow_provider_sentinelhub.client.lifecycle.submission import Before, obtain
from tests.client.client_harness import build_document
from tests.client.client_model import DISORDER, LATE, LOST, START, TWICE, Service, abandon, carry_out

BODY = build_document(description="Corsica")
SINCE = START - timedelta(seconds=1)
IDLE = {"DONE", "FAILED", "STOPPED"}
# Airflow starts an attempt when the one before is dead, and has been told so.
GAP_S = 10.0
# For so long, and a little longer, what was created is looked for after its answer was lost.
SEARCHED_S = 7.0
STEPS = 3000


@dataclass
class Instance:
    """An Airflow task instance: what it wants now, what is on record of it, and what its attempts worked on."""

    map_index: int
    adopts: bool
    generation: int = 0
    digest: int = 0
    tries: int = 0
    record: tuple[str, Intent] | None = None
    records: list[tuple[str, Intent]] = field(default_factory=list)
    worked_on: dict[Intent, set[str]] = field(default_factory=dict)

    @property
    def intent(self) -> Intent:
        return Intent("dag", "run", "task", self.map_index, f"{self.digest:016x}", self.generation)

    def obtaining(self) -> Any:
        """What an attempt does, see ``operators/running.py``."""
        self.tries += 1
        task_id, of = self.record or (None, None)
        is_of_it = of == self.intent
        before = Before() if of is None or is_of_it else Before((str(task_id),), of.digest == self.intent.digest)
        return obtain(
            BATCH_V2,
            self.intent,
            BODY,
            (),
            recorded=task_id if is_of_it else None,
            before=before,
            since=SINCE,
            resumes=lambda task: self.adopts and task.status != "FAILED",
            adopt_ended=self.tries > 1,
        )

    def write_record(self, task_id: str) -> None:
        self.record = (task_id, self.intent)
        self.records.append(self.record)
        self.worked_on.setdefault(self.intent, set()).add(task_id)


def is_of(text: str, instance: Instance) -> bool:
    intent = Intent.found_in(text)
    return intent is not None and intent.instance == instance.intent.instance


class StartedTwice(AssertionError):
    """What must never happen."""


class Submission(RuleBasedStateMachine):
    """
    Attempts of two Airflow task instances; the second one continues with the old task after a clear.

    Anything may happen to a call: it is lost, its answer is lost, it arrives twice, it arrives up to two minutes late,
    after its sender has given up or is dead. Replicas contradict each other. Attempts are killed between and during any
    two calls, and before they write their record; a record is lost, or an older one comes back. Every procedure ends
    within a bounded number of steps, see ``carry_out``.

    What is left out, because the design does not hold there:

    * Two attempts at the same moment. Airflow starts one when the former is dead; only the former's calls still arrive.
    * A record that is lost before the list shows its task. An attempt then knows nothing of it.
    * A record that is lost while a start is on its way, and a second task of the same tag was never started: a create
      that arrived after all searches, or twice. Nothing says yet which of the two will run.
    * A clear that adopts while there is such a second task: only the record could tell which of them was wanted.
    * A record from before a clear that comes back after a task from after the clear was stopped: it looks like one that
      was stopped because the request had changed, and is not started again.
    * A clear while a start is on its way. When it arrives, the old task runs beside the new one, which is that of
      another intent. Where nothing is late, the old one is stopped first; that is held to as well.
    """

    is_listing = True
    keeps_records = True

    @initialize(
        read_lag=st.floats(0, 5),
        replicas=st.lists(st.floats(0, 1), min_size=1, max_size=4),
        list_lag=st.floats(0, 60),
        delays=st.lists(st.floats(0, 120), min_size=1, max_size=4),
        step_seconds=st.floats(0.1, 90),
        foreign=st.integers(0, 5),
        is_orderly=st.booleans(),
    )
    def begin(self, foreign: int, list_lag: float, is_orderly: bool, **service: Any) -> None:
        list_lag = min(list_lag, SEARCHED_S) if is_orderly else list_lag
        self.service = Service(list_lag=list_lag, is_orderly=is_orderly, is_listing=self.is_listing, **service)
        for number in range(foreign):
            self.service.add(f"somebody else's {number}")
        self.instances = [Instance(-1, adopts=False), Instance(0, adopts=True)]

    which = st.integers(0, 1)
    faults = st.lists(st.sampled_from(DISORDER), max_size=12)
    goals = st.sampled_from([*[Goal.RUN] * 6, *Goal])
    kills = st.sampled_from([None] * 6 + [0, 1, 2, 3, 5, 8])

    @rule(which=which, faults=faults, goal=goals, killed_acting=kills)
    def attempt(self, which: int, faults: list[str], goal: Goal, killed_acting: int | None) -> None:
        """A first attempt or a retry: the task is obtained, recorded, and acted upon."""
        task = self._obtain(which, faults)
        if task is not None:
            if self.keeps_records:
                self.instances[which].write_record(task.id)
            self._act(task, goal, killed_acting)

    @rule(which=which, faults=faults)
    def attempt_without_a_record(self, which: int, faults: list[str]) -> None:
        """One that dies when it should write its record, and so before any start."""
        self._obtain(which, faults)

    @rule(which=which, faults=faults, killed_in=st.integers(0, 8) | st.integers(0, 60))
    def attempt_that_is_killed(self, which: int, faults: list[str], killed_in: int) -> None:
        """What it was about to send arrives later on."""
        self.service.advance(GAP_S)
        self.service.faults = list(faults)
        abandon(self.service, self.instances[which].obtaining(), killed_in)

    def _obtain(self, which: int, faults: list[str]) -> Any:
        instance = self.instances[which]
        self.service.advance(GAP_S)
        self.service.faults = list(faults)
        try:
            task = carry_out(self.service, instance.obtaining(), STEPS)
        except errors.ServiceUnavailable:
            return None
        found = Intent.found_in(self.service.tasks[task.id].description)
        if found != instance.intent:
            assert instance.adopts
            assert found is not None
            assert (found.instance, found.digest) == (instance.intent.instance, instance.intent.digest)
        older = [each for intent, ids in self.started(instance).items() if intent != instance.intent for each in ids]
        running = [each for each in older if self.is_running(each) and each not in self.service.late_starts]
        assert instance.adopts or not self.is_listing or not running, f"{running} were left running"
        return task

    def is_running(self, task_id: str) -> bool:
        task = self.service.tasks[task_id]
        return task.status not in IDLE and task.action != "STOP"

    @rule(which=which, faults=faults, goal=goals, killed_acting=kills)
    def look(self, which: int, faults: list[str], goal: Goal, killed_acting: int | None) -> None:
        """The trigger looks at the task that is waited for."""
        record = self.instances[which].record
        if record is None or record[1] != self.instances[which].intent:
            return
        self.service.faults = []
        task = carry_out(self.service, self._reading(record[0]))
        self.service.faults = list(faults)
        self._act(task, goal, killed_acting)

    def _reading(self, task_id: str) -> Any:
        return (yield BATCH_V2.calls.get(task_id).when_fresh())

    def _act(self, task: Any, goal: Goal, killed_after: int | None) -> None:
        before = len(self.service.log)
        acting = procedures.act(BATCH_V2, task, goal)
        if killed_after is not None:
            abandon(self.service, acting, killed_after)
        else:
            with contextlib.suppress(errors.ServiceUnavailable):
                carry_out(self.service, acting, 100)
        written = [entry for entry in self.service.log[before:] if entry.startswith("POST")]
        if goal is Goal.OBSERVE:
            assert written == []
        if goal is Goal.ANALYSE:
            assert not any(entry.endswith("/start") for entry in written)

    @rule(which=which, is_changed=st.booleans())
    def clear(self, which: int, is_changed: bool) -> None:
        """A user clears the task instance, and may have changed the request; nobody has stopped anything yet."""
        instance = self.instances[which]
        instance.generation += 1
        instance.digest += is_changed

    @rule(which=which)
    def lose_the_record(self, which: int) -> None:
        """Somebody empties the state store."""
        instance = self.instances[which]
        self.service.advance(self.service.list_lag)
        if not (self.rivals(instance) and self.starts_on_their_way(instance)):
            instance.record = None
            instance.records.clear()

    @rule(which=which, number=st.integers(0, 5))
    def bring_an_older_record_back(self, which: int, number: int) -> None:
        """Its first copy arrives long after its repeat."""
        instance = self.instances[which]
        self.service.advance(self.service.list_lag)
        is_stopped = any(
            task.action == "STOP" and Intent.found_in(task.description) == instance.intent
            for task in self.service.tasks.values()
        )
        if number >= len(instance.records) or (is_stopped and instance.records[number][1] != instance.intent):
            return
        if not (self.rivals(instance) and self.starts_on_their_way(instance)):
            instance.record = instance.records[number]

    def rivals(self, instance: Instance) -> list[str]:
        """Tags of a task instance's tasks that were never started and are not on record, or are on their way."""
        coming = [str(call.body["description"]) for _, call in self.service.on_their_way if call.body]
        known = instance.record and instance.record[0]
        there = [task.description for task in self.service.tasks.values() if not task.starts and task.id != known]
        return [text for text in (*coming, *there) if is_of(text, instance)]

    def starts_on_their_way(self, instance: Instance) -> list[str]:
        own = [task.id for task in self.service.tasks.values() if is_of(task.description, instance)]
        paths = {call.path for _, call in self.service.on_their_way}
        return [task_id for task_id in own if f"/process/{task_id}/start" in paths]

    @rule(which=which, faults=faults, action_on_its_way=st.booleans())
    def stop(self, which: int, faults: list[str], action_on_its_way: bool) -> None:
        """Somebody kills the Airflow task."""
        record = self.instances[which].record
        if record is None:
            return
        self.service.faults = list(faults)
        try:
            carry_out(self.service, procedures.stop(BATCH_V2, record[0], action_on_its_way=action_on_its_way))
        except errors.ServiceUnavailable:
            return
        truth = self.service.tasks[record[0]]
        is_on_its_way = any(record[0] in call.path for _, call in self.service.on_their_way)
        assert is_on_its_way or truth.status in IDLE or truth.action in {"STOP", "NONE"}, "left running"

    @rule(seconds=st.floats(0, 4000))
    def pass_time(self, seconds: float) -> None:
        self.service.advance(seconds)

    @invariant()
    def no_intent_has_two_started_tasks(self) -> None:
        for instance in getattr(self, "instances", []):
            for intent, ids in self.started(instance).items():
                if len(ids) > 1:
                    raise StartedTwice(f"{sorted(ids)} for {intent.tag}")

    @invariant()
    def no_intent_has_two_tasks_where_nothing_is_late_or_doubled(self) -> None:
        if hasattr(self, "service") and self.service.is_orderly and self.is_listing:
            found = [Intent.found_in(task.description) for task in self.service.tasks.values()]
            ours = [intent for intent in found if intent is not None]
            assert len(ours) == len(set(ours))

    def started(self, instance: Instance) -> dict[Intent, set[str]]:
        """Tasks that were ever started, by the intents they were created for or adopted by."""
        found: dict[Intent, set[str]] = {}
        for task in self.service.tasks.values():
            intent = Intent.found_in(task.description)
            if task.starts and intent is not None and intent.instance == instance.intent.instance:
                adopted = [by for by, ids in instance.worked_on.items() if task.id in ids and task.action != "STOP"]
                for each in {intent, *adopted}:
                    found.setdefault(each, set()).add(task.id)
        return found


Submission.TestCase.settings = settings(max_examples=400, stateful_step_count=40, deadline=None)
TestSubmission = Submission.TestCase


class Naive(Submission):
    """The same where nobody searches: the list shows nothing."""

    is_listing = False


class Forgetful(Naive):
    """The same where nothing is on record either."""

    keeps_records = False


@pytest.mark.parametrize("machine", [Naive, Forgetful])
def test_the_machine_can_fail(machine: type[Submission]) -> None:
    few = settings(Submission.TestCase.settings, phases=[Phase.generate], derandomize=True)
    with pytest.raises(StartedTwice):
        run_state_machine_as_test(machine, settings=few)


# --- single stories --------------------------------------------------------------------------------------------------


def a_machine(**service: Any) -> Submission:
    machine = Submission()
    machine.begin(foreign=1, list_lag=0.0, is_orderly=False, **service)
    return machine


def started(machine: Submission) -> list[str]:
    return [task.id for task in machine.service.tasks.values() if task.starts]


@pytest.mark.parametrize("fault", [*LATE, *TWICE])
def test_a_second_task_of_an_intent_is_never_started_even_without_the_record(fault: str) -> None:
    machine = a_machine(delays=[60.0])
    machine.attempt(0, ["none", fault], Goal.RUN, None)
    machine.pass_time(100)
    machine.lose_the_record(0)
    machine.attempt(0, [], Goal.RUN, None)
    assert len(machine.service.tasks) == 1 + 2
    assert len(started(machine)) == 1


def test_a_start_that_was_cut_off_and_arrives_late_is_that_of_the_task_the_next_attempt_starts() -> None:
    machine = a_machine(delays=[60.0])
    machine.attempt(0, [], Goal.RUN, 0)
    assert started(machine) == []
    machine.lose_the_record(0)
    machine.attempt(0, [], Goal.RUN, None)
    machine.pass_time(100)
    assert len(started(machine)) == 1


def test_a_create_of_an_attempt_that_was_killed_arrives_after_the_next_one_has_searched() -> None:
    machine = a_machine(delays=[60.0])
    machine.attempt_that_is_killed(0, [], 1)
    machine.attempt(0, [], Goal.RUN, None)
    before = started(machine)
    machine.pass_time(100)
    machine.lose_the_record(0)
    machine.attempt(0, [], Goal.RUN, None)
    assert len(machine.service.tasks) == 1 + 2
    assert started(machine) == before


def test_adopting_resumes_the_task_that_was_begun() -> None:
    machine = a_machine()
    machine.attempt(1, ["none", "twice"], Goal.RUN, None)
    before = started(machine)
    machine.instances[1].generation += 1
    machine.attempt(1, [], Goal.RUN, None)
    assert started(machine) == before


def test_a_request_that_is_as_it_was_once_stops_what_was_wanted_in_between() -> None:
    machine = a_machine(step_seconds=90.0)
    for digest in (0, 1, 0):
        machine.instances[0].digest = digest
        machine.attempt(0, [], Goal.RUN, None)
        machine.pass_time(200)
    going_on = [task.id for task in machine.service.tasks.values() if task.starts and task.status not in IDLE]
    assert len(going_on) <= 1


def test_an_awaited_start_is_stopped_however_long_it_takes() -> None:
    service = Service(step_seconds=150, delays=[10.0])
    task = carry_out(service, Instance(0, adopts=False).obtaining())
    abandon(service, procedures.act(BATCH_V2, task, Goal.RUN), 0)
    carry_out(service, procedures.stop(BATCH_V2, task.id, action_on_its_way=True))
    assert service.tasks[task.id].action == "STOP"


# --- APIs that can do less -------------------------------------------------------------------------------------------

WITHOUT_LIST = replace(BATCH_V2, can=Capabilities(lists_tasks=False))
WITHOUT_STOP = replace(BATCH_V2, can=Capabilities(stop=False))
AT_ONCE = replace(BATCH_V2, can=Capabilities(analyse=False, start=False))
AT_ONCE_WITHOUT_LIST = replace(BATCH_V2, can=Capabilities(lists_tasks=False, analyse=False, start=False))
CREATE = "POST /process"


def obtaining(api: TaskApiSpec, intent: Intent, **search: Any) -> Any:
    return obtain(api, intent, BODY, (), **{"recorded": None, "since": SINCE, **search})


INTENT = Instance(0, adopts=False).intent
CLEARED = replace(INTENT, generation=1)


@pytest.mark.parametrize("fault", [fault for fault in LOST if fault != "down"])
def test_a_task_that_runs_at_once_and_cannot_be_listed_is_never_created_again(fault: str) -> None:
    service = Service(faults=[fault], runs_at_once=True)
    with pytest.raises(errors.OutcomeUnknown) as caught:
        carry_out(service, obtaining(AT_ONCE_WITHOUT_LIST, INTENT))
    assert service.log == [CREATE]
    # Neither does Airflow: the next attempt could not find it.
    assert not caught.value.retryable


def test_a_task_that_runs_at_once_is_found_in_the_list_after_its_answer_was_lost() -> None:
    service = Service(faults=["none", "lost after"], list_lag=3.0, runs_at_once=True)
    task = carry_out(service, obtaining(AT_ONCE, INTENT))
    assert list(service.tasks) == [task.id]


def test_a_task_that_runs_at_once_and_is_not_listed_in_time_is_left_to_the_next_attempt() -> None:
    service = Service(faults=["none", "lost after"], list_lag=60.0, runs_at_once=True)
    with pytest.raises(errors.OutcomeUnknown) as caught:
        carry_out(service, obtaining(AT_ONCE, INTENT))
    assert caught.value.retryable
    service.advance(60)
    task = carry_out(service, obtaining(AT_ONCE, INTENT))
    assert list(service.tasks) == [task.id]
    assert service.log.count(CREATE) == 1


def test_a_clear_stops_a_task_that_runs_at_once_before_a_new_one_is_created() -> None:
    service = Service(runs_at_once=True, step_seconds=60)
    old = carry_out(service, obtaining(AT_ONCE, INTENT))
    service.advance(60)
    new = carry_out(service, obtaining(AT_ONCE, CLEARED))
    assert service.tasks[old.id].action == "STOP"
    assert service.tasks[new.id].action == "START"
    assert service.log.index(f"POST /process/{old.id}/stop") < len(service.log) - 1 - service.log[::-1].index(CREATE)


def test_without_a_list_the_record_alone_says_which_task_it_is() -> None:
    service = Service()
    first = carry_out(service, obtaining(WITHOUT_LIST, INTENT))
    assert carry_out(service, obtaining(WITHOUT_LIST, INTENT, recorded=first.id)).id == first.id
    assert carry_out(service, obtaining(WITHOUT_LIST, INTENT)).id != first.id
    assert service.log == [CREATE, f"GET /process/{first.id}", CREATE]


def test_without_a_list_a_lost_create_is_repeated_for_it_costs_nothing_before_its_start() -> None:
    service = Service(faults=["lost after", "lost before"])
    task = carry_out(service, obtaining(WITHOUT_LIST, INTENT))
    carry_out(service, procedures.act(WITHOUT_LIST, task, Goal.RUN))
    assert service.log[:3] == [CREATE] * 3
    assert [each.starts for each in service.tasks.values()] == [0, 1]


def test_without_a_list_a_clear_still_stops_what_is_on_record() -> None:
    service = Service()
    old = carry_out(service, obtaining(WITHOUT_LIST, INTENT))
    carry_out(service, procedures.act(WITHOUT_LIST, old, Goal.RUN))
    service.advance(4)
    carry_out(service, obtaining(WITHOUT_LIST, CLEARED, before=Before((old.id,), same_request=True)))
    assert service.tasks[old.id].action == "STOP"


def test_what_cannot_be_stopped_is_left_running_and_said(caplog: pytest.LogCaptureFixture) -> None:
    service = Service(step_seconds=60)
    old = carry_out(service, obtaining(WITHOUT_STOP, INTENT))
    carry_out(service, procedures.act(WITHOUT_STOP, old, Goal.RUN))
    new = carry_out(service, obtaining(WITHOUT_STOP, CLEARED))
    assert new.id != old.id
    assert not any(entry.endswith("/stop") for entry in service.log)
    assert f"Task {old.id}, which this Airflow task ran before, cannot be stopped" in caplog.text


def test_a_running_rerun_whose_request_names_files_otherwise_is_adopted() -> None:
    """As after an upgrade that renames the GeoPackage of a rerun, where the record of the rerun was lost."""
    service, first = Service(), replace(INTENT, rerun=1, original="original-1")
    old = carry_out(service, obtaining(BATCH_V2, first))
    carry_out(service, procedures.act(BATCH_V2, old, Goal.RUN))
    again = carry_out(service, obtaining(BATCH_V2, replace(first, digest="f" * 16)))
    assert again.id == old.id
    assert service.tasks[old.id].action == "START"
    other = carry_out(service, obtaining(BATCH_V2, replace(first, rerun=2)))
    assert other.id != old.id
