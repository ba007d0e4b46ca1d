"""The state all parts of the simulator share: account, clock, script, and the lock of it all."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.simulator.script import Script

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.clock import Clock
    from airflow_provider_sentinelhub.simulator.delivery import Keys
    from airflow_provider_sentinelhub.simulator.store import Store

INITIAL_PU = 1_000_000.0


class Service:
    """
    The service's state.

    Everything that reads or changes a task holds ``lock``; time's own work is done by the engine.

    :param store: State on disk.
    :param clock: Simulated time.
    :param keys: Bucket keys and where the S3 server is.
    :param script: Replaces the remembered script; ``None`` keeps that.
    """

    def __init__(self, store: Store, clock: Clock, keys: Keys, script: Script | None = None) -> None:
        self.store = store
        self.clock = clock
        self.keys = keys
        self.lock = threading.RLock()
        remembered = store.setting("script")
        self._script = script or (Script.model_validate(remembered) if remembered else Script())
        self.save_script()

    @property
    def script(self) -> Script:
        """The script in force."""
        return self._script

    def set_script(self, script: Script) -> None:
        """
        Put another script in force.

        :param script: The new one.
        """
        with self.lock:
            self._script = script
            self.save_script()

    def save_script(self) -> None:
        """Remember the script with what is left of its counts."""
        self.store.remember("script", self._script.model_dump(mode="json"))

    @property
    def balance(self) -> float:
        """Processing units left in the account."""
        balance = self.store.setting("pu_balance")
        return INITIAL_PU if balance is None else float(balance)

    @balance.setter
    def balance(self, value: float) -> None:
        self.store.remember("pu_balance", value)
