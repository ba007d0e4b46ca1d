"""What the service's own records and files say about a run."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS
from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
from devtools.airflow_http import AirflowApiError

_RESTART = "user RESTART"

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from devtools.airflow_names import Run
    from devtools.chaos.stack import ChaosStack


def started(task: dict[str, Any]) -> int:
    """
    Return how often a task was started.

    :param task: The task with its history, from the simulator's own records.
    """
    return _times(task, "user START")


def restarted(task: dict[str, Any]) -> int:
    """
    Return how often the service was asked to run again what failed in a task, and agreed.

    :param task: The task with its history.
    """
    return _times(task, _RESTART)


def _times(task: dict[str, Any], event: str) -> int:
    return sum(entry["event"] == event for entry in task["history"])


def stopped(task: dict[str, Any]) -> int:
    """
    Return how often a task was stopped.

    :param task: The task with its history.
    """
    return _times(task, f"status {TASK_APIS[task['api']].stopped}")


def is_running(task: dict[str, Any]) -> bool:
    """
    Whether a task was started and has not ended, or is about to be processed again.

    :param task: The task with its history.
    """
    is_over = task["status"] in TASK_APIS[task["api"]].terminal and task["history"][-1]["event"] != _RESTART
    return started(task) > 0 and not is_over


def twice(task: dict[str, Any]) -> int:
    """
    Return how many features of a task were processed, or paid for, again after they had succeeded.

    :param task: The task with all attempts at its features.
    """
    paid = Counter(each["number"] for each in task["attempts"] if each["status"] == "DONE" or each["cost_pu"])
    return sum(count > 1 for count in paid.values())


def tasks_of(stack: ChaosStack, run: Run) -> list[tuple[Intent, dict[str, Any]]]:
    """
    Return all tasks the service has for a run, with their intents.

    :param stack: Airflow, service and proxies.
    :param run: The run.
    """
    found = [(_intent_of(task), task) for task in stack.sim.tasks()]
    return [
        (intent, task)
        for intent, task in found
        if intent is not None and (intent.dag_id, intent.run_id) == (run.dag_id, run.run_id)
    ]


def async_requests_of(stack: ChaosStack, run: Run) -> list[dict[str, Any]]:
    """
    Return all Async Process requests that the service has accepted for a run.

    :param stack: Airflow, service and proxies.
    :param run: The run.
    """
    folder = f"/{run.dag_id}/{run.run_id}/"
    found = stack.sim.async_requests()
    return [each for each in found if folder in each["request"]["output"]["delivery"]["s3"]["url"]]


def _intent_of(task: dict[str, Any]) -> Intent | None:
    # The records contain the description or the evalscript; which of the two carries the tag depends on the API.
    words = task["description"]
    script = {"evalscript": words, "evalscriptReference": {"s3": {"url": words}}}
    return Intent.found_in(TASK_APIS[task["api"]].tag_of({"description": words, "aggregation": script}))


def evidence(stack: ChaosStack, run: Run) -> str:
    """
    Return the logs of a run's attempts and the service's history of its tasks.

    :param stack: Airflow, service and proxies.
    :param run: The run.
    """
    lines = []
    for intent, task in tasks_of(stack, run):
        lines += ["", f"{task['id']} {intent.tag} {task['status']}"]
        lines += [f"  {entry['at']} {entry['event']}" for entry in task["history"]]
    for each in async_requests_of(stack, run):
        lines += ["", f"{each['id']} {each['request']['output']['delivery']['s3']['url']} {each['status']}"]
        lines += [f"  {entry['at']} {entry['event']}" for entry in each["history"]]
    api = stack.airflow.api
    try:
        for ti in api.task_instances(run):
            lines += ["", f"{ti}"]
            for attempt in range(1, ti.try_number + 1):
                log = api.log(run.task(ti.task_id, ti.map_index), attempt)
                lines += [f"----- attempt {attempt}", log]
    except (OSError, AirflowApiError) as error:
        lines.append(f"Airflow did not answer: {error}")
    return "\n".join(lines)


# Feature, start of the interval, output and band.
Key = tuple[str, str, str, str]


def statistics_violations(bucket: Path, result: Mapping[str, Any], features: Collection[str]) -> list[str]:
    """
    Compare a table with the service's own files, and return what is wrong with it.

    :param bucket: Folder with the files of the bucket.
    :param result: What the run returned.
    :param features: Names of all features.
    """
    from pyarrow import parquet

    path = bucket / result["statistics_url"].split("/", 3)[3]
    rows = parquet.read_table(path).to_pylist()
    wanted: dict[Key, float | None] = {}
    for folder in (path.parent, *(found for each in result["task_ids"][1:] for found in bucket.rglob(each))):
        for file in folder.glob("*.json"):
            wanted |= dict(_answers(file))
    found = Counter(_key(row) for row in rows)
    violations = []
    if any(row["error"] for row in rows):
        violations.append("the table has rows with errors, and the reruns of all features succeeded")
    if twice := sum(count > 1 for count in found.values()):
        violations.append(f"{twice} statistics are in the table more than once")
    if missing := len(wanted.keys() - found.keys()):
        violations.append(f"{missing} of {len(wanted)} statistics are not in the table")
    if invented := len(found.keys() - wanted.keys()):
        violations.append(f"{invented} statistics in the table were never written by the service")
    if other := sum(row["mean"] != wanted.get(_key(row)) for row in rows):
        violations.append(f"{other} means are not what the service wrote")
    intervals = Counter(feature for feature, *_ in found)
    if set(intervals) != set(features) or len(set(intervals.values())) != 1:
        violations.append(f"not all intervals of all of {sorted(features)} are in the table: {dict(intervals)}")
    return violations


def _answers(file: Path) -> Iterator[tuple[Key, float | None]]:
    content = json.loads(file.read_text(encoding="utf-8"))
    for interval in content.get("response", {}).get("data") or []:
        for output, answer in interval.get("outputs", {}).items():
            for band, about in answer["bands"].items():
                mean = about["stats"]["mean"]
                key = content["identifier"], interval["interval"]["from"], output, band
                yield key, None if mean == "NaN" else mean


def _key(row: Mapping[str, Any]) -> Key:
    start = row["interval_from"]
    return row["identifier"], f"{start:%Y-%m-%dT%H:%M:%SZ}" if start else "", row["output"] or "", row["band"] or ""
