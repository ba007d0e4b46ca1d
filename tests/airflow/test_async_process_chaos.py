"""An attempt that dies at any call to service or bucket, before it or after it, and the retry that follows."""

from __future__ import annotations

import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.hooks.async_process import SentinelHubAsyncProcessHook
from airflow_provider_sentinelhub.operators.async_process import SentinelHubAsyncProcessOperator
from tests.airflow.airflow_harness import Comms, RunTask
from tests.airflow.test_async_process import request, submitted

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_sentinelhub.client.http.call import Call
    from airflow_provider_sentinelhub.simulator.process import Simulator

T = TypeVar("T")
# All calls up to the one that tells that the request has ended.
MOMENTS = 60


class Death(BaseException):
    """The process ends here, as after kill -9: nothing handles it."""


class Life:
    """
    Lasts for some moments: there is one before and one after every call.

    :param moments: How many.
    """

    def __init__(self, moments: int) -> None:
        self.left = moments

    def pass_through(self, work: Callable[[], T]) -> T:
        self._pass()
        done = work()
        self._pass()
        return done

    def _pass(self) -> None:
        self.left -= 1
        if not self.left:
            raise Death


class MortalStorage(Storage):
    """A bucket, used by somebody who may die."""

    life: Life

    def read_with_meta(self, url: str) -> Any:
        return self.life.pass_through(lambda: super(MortalStorage, self).read_with_meta(url))

    def create(self, content: bytes, url: str) -> None:
        self.life.pass_through(lambda: super(MortalStorage, self).create(content, url))

    def upload(self, source: Any, url: str) -> None:
        self.life.pass_through(lambda: super(MortalStorage, self).upload(source, url))

    def list(self, prefix_url: str) -> Any:
        return iter(self.life.pass_through(lambda: list(super(MortalStorage, self).list(prefix_url))))


class MortalHook(SentinelHubAsyncProcessHook):
    """
    A hook, used by somebody who may die.

    :param life: How long they live.
    """

    def __init__(self, life: Life) -> None:
        super().__init__()
        self.life = life

    @cached_property
    def storage(self) -> Storage:
        """The buckets."""
        storage = MortalStorage(super().storage.options_for)
        storage.life = self.life
        return storage

    def send(self, call: Call[T]) -> T:
        return self.life.pass_through(lambda: super(MortalHook, self).send(call))


def test_one_request_is_accepted_whenever_an_attempt_dies(run_task: RunTask, sim: Simulator, comms: Comms) -> None:
    sim.set_script({"pixels": "quick", "timing": {"async_seconds": 1}})
    deaths = 0
    for moments in range(1, MOMENTS):
        url = f"s3://{sim.ready.bucket}/{uuid.uuid4()}"

        def operator(url: str = url) -> SentinelHubAsyncProcessOperator:
            return SentinelHubAsyncProcessOperator(
                task_id="image",
                request=request(url),
                deferrable=False,
                poll_interval=0.02,
                trace_timeout=0.001,
                on_unknown="create",
                check_bucket=False,
            )

        mortal, life = operator(), Life(moments)
        mortal.__dict__["hook"] = MortalHook(life)
        comms.state.clear()
        run_task(mortal, max_tries=1)
        if life.left > 0:
            break
        deaths += 1
        assert run_task(operator(), try_number=2, max_tries=1).state == "success", moments
        (sent,) = submitted(sim, url)
        assert comms.xcoms["return_value"]["request_id"] == sent["id"], moments
    # Before and after: two looks for a note, the note itself and its check, the submission, the id, and the end.
    assert deaths > 14
