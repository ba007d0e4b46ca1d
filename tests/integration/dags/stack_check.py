from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator, get_current_context, task

if TYPE_CHECKING:
    from airflow.sdk import Context

START = datetime(2026, 1, 1, tzinfo=UTC)
log = logging.getLogger(__name__)


class Wait(BaseOperator):
    def execute(self, context: Context) -> None:
        seconds = context["params"]["seconds"]
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=seconds)), method_name="resume")

    def resume(self, context: Context, event: Any) -> str:
        self.log.info("The trigger said %s", event)
        return f"waited {context['params']['seconds']} s"


with DAG("stack_check", schedule=None, start_date=START, params={"name": "world"}):

    @task
    def greet() -> str:
        greeting = f"Hello {get_current_context()['params']['name']}"
        log.info("Saying: %s", greeting)
        return greeting

    @task
    def measure(word: str) -> int:
        return len(word)

    greet() >> measure.expand(word=["a", "bb"])


with DAG("stack_check_deferred", schedule=None, start_date=START, params={"seconds": 10}):
    Wait(task_id="wait")


with DAG("stack_check_busy", schedule=None, start_date=START):

    @task(retries=1, retry_delay=timedelta(0))
    def sleep_once() -> int:
        attempt = get_current_context()["ti"].try_number
        if attempt == 1:
            time.sleep(120)
        return attempt

    sleep_once()
