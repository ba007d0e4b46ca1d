"""Converted requests of Batch Processing V1: the simulator's V2 takes each, and delivers what its V1 delivers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.apis.batch_v1.convert import convert_to_v2, url_of
from tests.client.v1_requests import DONE_ANSWER, v1_requests
from tests.simulator.conftest import BATCHES, until

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.process import Simulator

V1 = "/api/v1/batch/process"


def both(sim: Simulator, folder: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Each request, and the same with credentials as one of V2."""
    ready = sim.ready
    access = {"accessKey": ready.access_key_id, "secretAccessKey": ready.secret_access_key}
    given, wanted = v1_requests(ready.bucket, f"{folder}/v1"), v1_requests(ready.bucket, f"{folder}/v2")
    found = {kind: (given[kind], convert_to_v2(wanted[kind]).request) for kind in given}
    for _, converted in found.values():
        converted["output"]["delivery"]["s3"].update(access)
    return found


def created(sim: Simulator, path: str, request: dict[str, Any]) -> str:
    answer = sim.call("POST", path, request)
    assert answer.status == 201, answer.body
    return str(answer.body["id"])


def test_the_simulator_takes_each_of_them(sim: Simulator) -> None:
    for _, converted in both(sim, f"taken-{time.time_ns()}").values():
        created(sim, BATCHES, converted)


def files(sim: Simulator, url: str, task_id: str) -> dict[str, bytes]:
    """What a task delivered, by its path below the delivery: files about the task itself are no results."""
    folder = sim.bucket_folder / url.partition("://")[2].partition("/")[2].partition("<")[0]
    about = (f"request-{task_id}", f"execution-{task_id}", f"featureManifest-{task_id}")
    found = [path for path in (folder if "<" in url else folder / task_id).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)).replace(task_id, "<requestId>"): path.read_bytes()
        for path in found
        if not path.name.startswith(about) and path.name not in {".zattrs", ".zmetadata"}
    }


def deliver_the_same(sim: Simulator, *kinds: str) -> None:
    """Run requests of these kinds as V1 and as V2, and compare what they deliver."""
    ids = {}
    requests = both(sim, f"same-{time.time_ns()}")
    for kind in kinds:
        given, converted = requests[kind]
        # A request to the service has nothing that only the service sets.
        request = {name: value for name, value in given.items() if name not in DONE_ANSWER}
        ids[kind] = created(sim, V1, request), created(sim, BATCHES, converted), request, converted
    for old, new, *_ in ids.values():
        assert sim.call("POST", f"{V1}/{old}/start").status == 204
        assert sim.call("POST", f"{BATCHES}/{new}/start").status == 204
    for kind, (old, new, request, converted) in ids.items():
        until(sim, V1, old, "DONE")
        until(sim, BATCHES, new, "DONE")
        before = files(sim, url_of(request), old)
        after = files(sim, converted["output"]["delivery"]["s3"]["url"], new)
        assert len(before) >= 4, kind
        if kind == "numbers of tiles":
            # V1 named the files by the numbers of the tiles.
            assert sorted(before.values()) == sorted(after.values())
        else:
            assert before == after, kind


def test_v1_and_v2_deliver_the_same_tiles(sim: Simulator) -> None:
    deliver_the_same(sim, *(kind for kind in v1_requests() if kind != "zarr"))


def test_v1_and_v2_deliver_the_same_zarr(sim: Simulator) -> None:
    deliver_the_same(sim, "zarr")
