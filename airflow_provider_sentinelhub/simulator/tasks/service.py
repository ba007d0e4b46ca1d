"""The state that all parts of the simulator share: APIs, account, clock, script, and the lock on it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket, BucketFailed, Template, by_policy
from airflow_provider_sentinelhub.simulator.tasks.script import Script

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_sentinelhub.simulator.bucket.delivery import Keys
    from airflow_provider_sentinelhub.simulator.imagery.rendering import Pixels
    from airflow_provider_sentinelhub.simulator.tasks.api import TaskApi
    from airflow_provider_sentinelhub.simulator.tasks.clock import Clock
    from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Task
    from airflow_provider_sentinelhub.simulator.tasks.store import Store

INITIAL_PU = 1_000_000.0


class Service:
    """
    The service's state.

    Whoever reads or changes a task holds ``lock``. The engine does what happens without calls.

    :param store: State on disk.
    :param clock: Simulated time.
    :param keys: Bucket keys and the S3 server's URL.
    :param apis: The APIs of tasks.
    :param script: Replaces the stored script; ``None`` keeps it.
    :param pixels: How pixels are computed, whatever this script says; and with later ones that do not say. As the
        script says when ``None``.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        keys: Keys,
        apis: Iterable[TaskApi],
        script: Script | None = None,
        *,
        pixels: Pixels | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.keys = keys
        self.lock = threading.RLock()
        self._apis = {api.name: api for api in apis}
        stored = store.setting("script")
        self._script = script or (Script.model_validate(stored) if stored else Script())
        self._pixels = pixels
        if pixels is not None:
            self._script.pixels = pixels
        self.save_script()

    def api_of(self, task: Task) -> TaskApi:
        """
        Return the API of a task.

        :param task: The task.
        """
        return self._apis[task.api]

    @property
    def script(self) -> Script:
        """The current script."""
        return self._script

    def set_script(self, script: Script) -> None:
        """
        Replace the script.

        :param script: The new one.
        """
        with self.lock:
            if self._pixels is not None and "pixels" not in script.model_fields_set:
                script.pixels = self._pixels
            self._script = script
            self.save_script()

    def save_script(self) -> None:
        """Store the script with what is left of its counts."""
        self.store.remember("script", self._script.model_dump(mode="json"))

    def bucket(self, access: dict[str, Any]) -> Bucket:
        """
        Connect to a bucket with the credentials of a request.

        :param access: ``s3`` or ``gs`` of a request.
        :raises BucketFailed: The service may not use it.
        """
        name = Template.of(access["url"], "").bucket
        if by_policy(access) and name in self.script.buckets_without_policy:
            raise BucketFailed("AccessDenied")
        return Bucket.open(access, self.keys)

    @property
    def balance(self) -> float:
        """Processing units left in the account."""
        balance = self.store.setting("pu_balance")
        return INITIAL_PU if balance is None else float(balance)

    @balance.setter
    def balance(self, value: float) -> None:
        self.store.remember("pu_balance", value)
