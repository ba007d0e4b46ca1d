from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sentinelhub.simulator.caller import call
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import STATISTICS_EVALSCRIPT
from tests.simulator.statistics_support import BASE, create

Json = dict[str, Any]
Request = Callable[..., Json]
Wait = Callable[..., Json]
Run = Callable[[Json], Json]


S3 = "output__s3__"
WRONG: list[tuple[Json, str]] = [
    ({"description": None}, "description"),
    ({"input": ...}, "input"),
    ({"input__features": ...}, "input->features"),
    ({"input__data": []}, "input->data"),
    ({"input__features__s3__url": "https://example.com/a.gpkg"}, "input->features->s3->url"),
    ({"input__features__s3__secretAccessKey": "wrong-secret-access-key"}, "input->features->s3"),
    ({"input__features__s3__url": "s3://no-such-bucket/a.gpkg"}, "input->features->s3"),
    ({"aggregation": ...}, "aggregation"),
    ({"aggregation__timeRange": ...}, "aggregation->timeRange"),
    ({"aggregation__timeRange__from": "yesterday"}, "aggregation->timeRange->from"),
    ({"aggregation__timeRange__to": "2024-01-01T00:00:00Z"}, "aggregation->timeRange"),
    ({"aggregation__aggregationInterval": ...}, "aggregation->aggregationInterval"),
    ({"aggregation__aggregationInterval__of": "PT12H"}, "aggregation->aggregationInterval->of"),
    ({"aggregation__aggregationInterval__of": "P1DT12H"}, "aggregation->aggregationInterval->of"),
    (
        {"aggregation__aggregationInterval__lastIntervalBehavior": "DROP"},
        "aggregation->aggregationInterval->lastIntervalBehavior",
    ),
    ({"aggregation__resx": 0}, "aggregation->resx"),
    ({"aggregation__resy": ...}, "aggregation"),
    ({"aggregation__width": 100}, "aggregation"),
    ({"aggregation__resx": ..., "aggregation__resy": ..., "aggregation__width": 2501}, "aggregation->width"),
    ({"aggregation__evalscript": ...}, "aggregation->evalscript"),
    ({"aggregation__evalscript": " "}, "aggregation->evalscript"),
    ({"aggregation__evalscriptReference": {"s3": {}}}, "aggregation->evalscriptReference->s3->url"),
    ({"calculations": []}, "calculations"),
    (
        {"calculations__default__statistics__default__percentiles__k": [50, 101]},
        "calculations->default->statistics->default->percentiles->k[1]",
    ),
    ({"output": ...}, "output"),
    ({f"{S3}url": "s3://sentinelhub/<REQUEST_ID>/x.json"}, "output->s3->url"),
    ({f"{S3}url": "s3://sentinelhub/<ID>/<requestId>.json"}, "output->s3->url"),
    ({f"{S3}accessKey": ...}, "output->s3"),
    ({f"{S3}accessKey": "AKIASOMEBODYELSE0000"}, "output->s3"),
    ({f"{S3}url": "s3://no-such-bucket/x"}, "output->s3"),
]


@pytest.mark.parametrize(("changes", "parameter"), WRONG, ids=[f"{n}-{w[1]}" for n, w in enumerate(WRONG)])
def test_a_wrong_request_is_refused_with_the_parameter_named(
    sim: Simulator, statistics_for: Request, changes: Json, parameter: str
) -> None:
    answer = sim.call("POST", BASE, statistics_for(**changes))
    assert (answer.status, answer.body["error"]["code"]) == (400, "COMMON_BAD_PAYLOAD")
    assert parameter in [each["parameter"] for each in answer.body["error"]["errors"]], answer.body


@pytest.mark.parametrize(
    "histogram",
    [
        {},
        {"nBins": 5, "binWidth": 0.1},
        {"nBins": 0},
        {"nBins": 2.5},
        {"nBins": "many"},
        {"binWidth": 0},
        {"bins": [1]},
        {"bins": [0, 2, 1]},
        {"nBins": 5, "lowEdge": 1, "highEdge": 0},
    ],
)
def test_a_wrong_histogram_is_refused(sim: Simulator, statistics_for: Request, histogram: Json) -> None:
    answer = sim.call("POST", BASE, statistics_for(calculations={"ndvi": {"histograms": {"B0": histogram}}}))
    assert answer.status == 400
    assert answer.body["error"]["errors"][0]["parameter"].startswith("calculations->ndvi->histograms->B0")


@pytest.mark.parametrize(("size", "status"), [(32 * 1024 - 1, 201), (32 * 1024, 400)])
def test_an_inline_evalscript_has_less_than_32_kb(
    sim: Simulator, statistics_for: Request, size: int, status: int
) -> None:
    script = STATISTICS_EVALSCRIPT + "// "
    # Bytes count, not characters.
    script += "é" * ((size - len(script)) // 2)
    script += " " * (size - len(script.encode()))
    answer = sim.call("POST", BASE, statistics_for(aggregation__evalscript=script))
    assert answer.status == status
    if status == 400:
        assert "evalscriptReference" in answer.body["error"]["message"]


def test_a_multipart_create_carries_the_evalscript_apart(sim: Simulator, statistics_for: Request) -> None:
    request = statistics_for()
    evalscript = request["aggregation"].pop("evalscript")
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: {kind}\r\n\r\n{content}\r\n'
        for name, kind, content in (
            ("request", "application/json", json.dumps(request)),
            ("evalscript", "text/plain", evalscript),
        )
    ]
    headers = {"Authorization": f"Bearer {sim.fetch_token()}", "Content-Type": "multipart/form-data; boundary=x"}
    answer = call("POST", sim.ready.base_url + BASE, ("".join(parts) + "--x--\r\n").encode(), headers)
    assert answer.status == 201, answer.body
    assert answer.body["request"]["aggregation"]["evalscript"].strip() == evalscript.strip()


def test_less_than_1000_pu_are_too_few_for_every_step(sim: Simulator, statistics_for: Request) -> None:
    task_id = create(sim, statistics_for())
    sim.set_balance(999)
    for path in ("", f"/{task_id}/analyse", f"/{task_id}/start"):
        answer = sim.call("POST", f"{BASE}{path}", statistics_for())
        assert (answer.status, answer.body["error"]["code"]) == (403, "ACCESS_INSUFFICIENT_PROCESSING_UNITS")
    sim.set_balance(1000)
    assert sim.call("POST", f"{BASE}/{task_id}/start").status == 204
