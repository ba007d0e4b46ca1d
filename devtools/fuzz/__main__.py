"""
Sends odd requests to the simulator: ``python -m devtools.fuzz --cases 5000 --seed 1``.

None may be answered with 500 or later, and preflight and the simulator have to agree: both accept a request, or both
refuse it. A refusal of the analysis counts. Differences are printed by their reason; those that have no explanation in
``comparison.py`` fail the run, and so does an answer of 500.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.fuzz.cases import PATHS, Case, cases, with_credentials
from devtools.fuzz.comparison import CRASH, Judged, explanation, kind

if TYPE_CHECKING:
    from collections.abc import Sequence

_QUICK = {"timing": {"pickup_seconds": 0, "analysis_seconds": 0}}
_PATIENCE_S = 600.0


@dataclass(slots=True)
class Outcome:
    """
    What came of all cases.

    :param answers: How often each status was answered.
    :param broken: Cases that were answered with 500 or more, or that preflight fails on, with what was said.
    :param agreed: How many requests both accept, and how many both refuse.
    :param differences: Cases in which only one refuses, by who does and why.
    """

    answers: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    broken: list[tuple[Case, Any]] = field(default_factory=list)
    agreed: dict[str, int] = field(default_factory=lambda: {"accept": 0, "refuse": 0})
    differences: dict[tuple[str, str], list[tuple[Case, str]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def unexplained(self) -> list[str]:
        """Differences that nobody has explained yet."""
        return [
            _told(case, f"only {by} refuses: {reason}")
            for (by, _), found in self.differences.items()
            for case, reason in found
            if explanation(by, reason, case.request) is None
        ]

    def compare(self, case: Case, judged: Judged, refusal: str) -> None:
        """
        Note what both say.

        :param case: The case.
        :param judged: What preflight says.
        :param refusal: Why the simulator refuses; empty where it accepts.
        """
        if bool(judged.reason) == bool(refusal):
            self.agreed["refuse" if refusal else "accept"] += 1
        else:
            by, reason = ("preflight", judged.reason) if judged.reason else ("simulator", refusal)
            self.differences[by, kind(reason)].append((case, reason))


def run(simulator: Simulator, count: int, seed: int) -> Outcome:
    """
    Send all cases, and wait for the analysis of the tasks that they create.

    :param simulator: Takes them; its script is replaced.
    :param count: How many.
    :param seed: The same seed makes the same cases.
    """
    outcome, waiting = Outcome(), {}
    simulator.set_script(_QUICK)
    for case in cases(simulator, count, seed):
        judged = None if case.api is None else Judged.of(case.api, case.request)
        answer = _send(simulator, outcome, case, case.body)
        if judged is None or case.api is None:
            continue
        if judged.reason.startswith(CRASH):
            outcome.broken.append((case, judged.reason))
        if judged.body is not None and json.dumps(judged.body) != json.dumps(case.request):
            # What is sent is what preflight made of the request.
            answer = _send(simulator, outcome, case, with_credentials(case.api.key, judged.body, simulator))
        if answer.status == 201:  # noqa: PLR2004 - created
            waiting[answer.body["id"]] = (case, judged)
            simulator.call("POST", f"{PATHS[case.api.key]}/{answer.body['id']}/analyse")
        else:
            outcome.compare(case, judged, "" if answer.status < 400 else _said(answer.body))  # noqa: PLR2004 - an error
    for task_id, error in _analysed(simulator, set(waiting)).items():
        outcome.compare(*waiting[task_id], error)
    return outcome


def _send(simulator: Simulator, outcome: Outcome, case: Case, body: Any) -> Any:
    answer = simulator.call(case.method, case.path, body)
    outcome.answers[answer.status] += 1
    if answer.status >= 500:  # noqa: PLR2004 - an error of the simulator
        outcome.broken.append((case, answer.body))
    return answer


def _told(case: Case, words: str) -> str:
    return f"case {case.number}: {case.method} {case.path}: {'; '.join(case.changes)}: {words}"[:400]


def _said(body: Any) -> str:
    error = body.get("error", {}) if isinstance(body, dict) else {}
    return str(error.get("message", body)).partition("\n")[0]


def _analysed(simulator: Simulator, wanted: set[str]) -> dict[str, str]:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        tasks = {task["id"]: task for task in simulator.tasks() if task["id"] in wanted}
        if all(task["status"] not in {"CREATED", "ANALYSING"} for task in tasks.values()):
            return {each: task["error"] or "" for each, task in tasks.items()}
        if time.monotonic() > deadline:
            raise TimeoutError("the analysis of the tasks does not end")
        time.sleep(0.1)


def main(given: Sequence[str] | None = None) -> int:
    """
    Run, and print what was found.

    :param given: Command line; that of the process when ``None``.
    """
    parser = argparse.ArgumentParser(prog="python -m devtools.fuzz", description="Odd requests for the simulator.")
    parser.add_argument("--cases", type=int, default=5000, help="how many (default: 5000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same cases (default: 1)")
    options = parser.parse_args(given)
    with Simulator.start(speed=600, quick=True) as simulator:
        outcome = run(simulator, options.cases, options.seed)
    print(f"{options.cases} cases, answers: " + ", ".join(f"{n} x {s}" for s, n in sorted(outcome.answers.items())))
    print(f"agreed: {outcome.agreed['accept']} accepted and {outcome.agreed['refuse']} refused by both")
    for case, body in outcome.broken:
        print(f"BROKEN: {_told(case, _said(body))}")
    for (by, reason), found in sorted(outcome.differences.items(), key=lambda each: -len(each[1])):
        case, words = found[0]
        why = explanation(by, words, case.request) or "UNEXPLAINED"
        print(f"{len(found)} x only {by} refuses: {reason}\n    {why}")
    for told in outcome.unexplained:
        print(f"UNEXPLAINED: {told}")
    return 1 if outcome.broken or outcome.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
