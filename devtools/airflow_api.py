"""The part of Airflow's REST API that a demo, a test or a chaos experiment needs."""

from __future__ import annotations

from typing import Any

from devtools.airflow_names import quoted
from devtools.airflow_runs import AirflowRuns
from devtools.airflow_tasks import AirflowTasks


class AirflowApi(AirflowRuns, AirflowTasks):
    """What one asks of a running Airflow."""

    def pool(self, name: str = "default_pool") -> dict[str, Any]:
        """
        Return a pool, e.g. its ``open_slots``, ``occupied_slots``, ``running_slots`` and ``deferred_slots``.

        :param name: Its name.
        """
        pool: dict[str, Any] = self.call("GET", f"/pools/{quoted(name)}")
        return pool

    def create_pool(self, name: str, slots: int, *, include_deferred: bool = False) -> None:
        """
        Create a pool.

        :param name: Its name.
        :param slots: Its slots.
        :param include_deferred: Whether a deferred task holds its slot.
        """
        self.call("POST", "/pools", {"name": name, "slots": slots, "include_deferred": include_deferred})

    def create_connection(self, conn_id: str, conn_type: str, **fields: object) -> None:
        """
        Create a connection.

        :param conn_id: Its id.
        :param conn_type: Its type.
        :param fields: ``host``, ``login``, ``password``, and ``extra`` as a JSON text.
        """
        self.call("POST", "/connections", {"connection_id": conn_id, "conn_type": conn_type, **fields})
