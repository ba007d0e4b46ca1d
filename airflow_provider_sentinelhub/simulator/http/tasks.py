"""What callers do with the tasks of one API: create, get, list, update, and act on them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.bucket.delivery import BucketFailed, cannot_access
from airflow_provider_sentinelhub.simulator.http.bodies import masked
from airflow_provider_sentinelhub.simulator.http.paging import matches, page
from airflow_provider_sentinelhub.simulator.problems import (
    Problem,
    bad_payload,
    conflict,
    no_processing_units,
    not_found,
    violations,
)
from airflow_provider_sentinelhub.simulator.tasks.clock import iso
from airflow_provider_sentinelhub.simulator.tasks.cost import MINIMUM_BALANCE_PU
from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Task

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.tasks.api import TaskApi
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

ACCOUNT = uuid.uuid5(uuid.NAMESPACE_URL, "sentinelhub-simulator/account")
USER = uuid.uuid5(uuid.NAMESPACE_URL, "sentinelhub-simulator/user")
WORKSPACE = uuid.uuid5(uuid.NAMESPACE_URL, "sentinelhub-simulator/workspace")
STATUS = ("id", "status", "error", "completionPercentage", "lastUpdated", "costPU", "created", "stoppedStatusReason")


class Tasks:
    """
    The tasks of one API.

    :param service: Has the tasks.
    :param api: The API.
    """

    def __init__(self, service: Service, api: TaskApi) -> None:
        self._service = service
        self._api = api

    def create(self, payload: Any) -> dict[str, Any]:
        """
        Create a task.

        :param payload: Parsed body.
        :raises Problem: 400 or 403.
        """
        service = self._service
        request = self._api.check(payload)
        if not self._api.reserves and service.balance < MINIMUM_BALANCE_PU:
            raise no_processing_units()
        with service.lock:
            now = service.clock.now()
            rule = service.script.take_task_rule(self._api.user_text(request))
            service.save_script()
        task = Task(id=str(uuid.uuid4()), api=self._api.name, request=request, created=now, since=now, rule=rule)
        self._try_buckets(task, payload)
        self._complete(task)
        task.note(now, "created")
        with service.lock:
            service.store.save(task)
            return self._view(task)

    def _complete(self, task: Task) -> None:
        """
        Complete a new task, before it is saved, with what an API knows of it from the start.

        :param task: Changed in place.
        :raises Problem: 400.
        """

    def _try_buckets(self, task: Task, payload: Any) -> None:
        parameter, access = self._api.delivery(task.request)
        files = self._api.files_at_create(task, payload)
        try:
            bucket = self._service.bucket(access)
            for key, content in files.items():
                bucket.put(key, content)
            if not files:
                bucket.keys(task.id)
            for parameter, access in self._api.sources(task.request).items():  # noqa: B007 - named in the refusal
                self._service.bucket(access).keys(task.id)
        except BucketFailed as error:
            raise cannot_access(parameter, str(error)) from error

    def get(self, task_id: str) -> dict[str, Any]:
        """
        Return a task.

        :param task_id: Its id.
        :raises Problem: 404.
        """
        with self._service.lock:
            return self._view(self.find(task_id))

    def status(self, task_id: str) -> dict[str, Any]:
        """
        Return the status of a task, without its request.

        :param task_id: Its id.
        :raises Problem: 404.
        """
        view = self.get(task_id)
        return {name: view[name] for name in STATUS if name in view}

    def act(self, task_id: str, action: str) -> None:
        """
        Act on a task.

        :param task_id: Id of the task.
        :param action: E.g. START.
        :raises Problem: 400, 403 or 404.
        """
        service = self._service
        with service.lock:
            task = self.find(task_id)
            lifecycle, now = self._api.lifecycle, service.clock.now()
            if now < task.created + service.script.timing.actions_after_seconds:
                raise _unknown(task_id)
            if action in self._api.needs_balance and service.balance < MINIMUM_BALANCE_PU:
                raise no_processing_units()
            reserved = self._api.reserve(task, action, service.store) if lifecycle.allows(task, action) else 0.0
            if reserved > service.balance:
                raise no_processing_units()
            if not lifecycle.act(task, action, now, service.script.timing):
                return
            if reserved:
                service.balance -= reserved
                task.reserved_pu += reserved
            if action in lifecycle.retries:
                service.store.retry_failed(task.id)
            service.store.save(task)

    def update(self, task_id: str, payload: Any) -> dict[str, Any]:
        """
        Change a task's description.

        :param task_id: Its id.
        :param payload: Parsed body.
        :returns: The request, not the task, as the service does.
        :raises Problem: 400, 404 or 409.
        """
        with self._service.lock:
            task = self.find(task_id)
            if not isinstance(payload, dict):
                raise bad_payload("Request body should be a JSON object.")
            found = [
                {"parameter": name, "violation": f"{name} is not a known field"}
                for name in payload
                if name != "description"
            ]
            if not isinstance(payload.get("description", ""), str):
                found.append({"parameter": "description", "violation": "description must be a string"})
            if found:
                raise violations(found)
            if not self._api.lifecycle.updatable(task):
                raise conflict(f"Request {task.id} cannot be updated with status {task.status}.")
            if "description" in payload:
                task.request["description"] = payload["description"]
                task.last_updated = self._service.clock.now()
                task.note(task.last_updated, "user UPDATE")
                self._service.store.save(task)
            return masked(task.request)

    def list(
        self,
        count: int | None,
        viewtoken: str | None,
        sort: str | None,
        search: str | None,
        url: str,
        **filters: str,
    ) -> dict[str, Any]:
        """
        Return one page of tasks.

        :param count: Size of the page; at most, and by default, 100.
        :param viewtoken: Which page; the first when ``None``.
        :param sort: ``created``, ``created:desc``, ``status`` or ``status:desc``.
        :param search: Words joined by ``|`` or ``&``, to find in descriptions; all tasks when empty.
        :param url: The caller's URL without the query, for the links.
        :param filters: The caller's filters that only this API has.
        :raises Problem: 400.
        """
        field, _, direction = (sort or "created").partition(":")
        if field not in {"created", "status"} or direction not in {"", "desc"}:
            raise violations([{"parameter": "sort", "violation": f"sort by {sort} is not supported"}])
        with self._service.lock:
            tasks = [
                task
                for task in self._service.store.tasks.values()
                if self._exists(task)
                and self._api.listed(task, filters)
                and matches(f"{task.id} {self._api.user_text(task.request)}", search)
            ]
            # Equal ones in the order of their creation: pages do not shift while tasks are added.
            tasks.sort(key=lambda task: (getattr(task, field), task.created), reverse=direction == "desc")
            chosen, links = page(tasks, count, viewtoken, url, sort=sort, search=search, **filters)
            return {"data": [self._view(task) for task in chosen], "links": links}

    def find(self, task_id: str) -> Task:
        """
        Find a task that callers can see.

        :param task_id: Its id.
        :raises Problem: 404.
        """
        task = self._service.store.tasks.get(task_id)
        if task is None or not self._exists(task):
            raise _unknown(task_id)
        return task

    def _exists(self, task: Task) -> bool:
        if task.api != self._api.name:
            return False
        now = self._service.clock.now()
        if self._api.lifecycle.delete_if_stale(task, now, self._api.kept_days):
            self._service.store.save(task)
        return not task.deleted and now >= task.created + self._service.script.timing.visible_after_seconds

    def _view(self, task: Task) -> dict[str, Any]:
        shown = self._snapshot(task)
        view: dict[str, Any] = {
            "id": task.id,
            "request": masked(task.request),
            "domainAccountId": str(ACCOUNT),
            "projectId": str(ACCOUNT),
            "workspaceId": str(WORKSPACE),
            "status": shown["status"],
            "error": task.error if shown["status"] == "FAILED" else None,
            "userAction": self._api.lifecycle.settled.get(shown["user_action"], shown["user_action"]),
            "userActionUpdated": _time(shown["user_action_updated"]),
            "created": iso(task.created),
            "completionPercentage": task.completion,
            "lastUpdated": _time(shown["last_updated"]),
            "costPU": task.cost_pu,
            "stoppedStatusReason": task.stopped_reason if shown["status"] == "STOPPED" else None,
        }
        return {name: value for name, value in self._api.view(task, view).items() if value is not None}

    def _snapshot(self, task: Task) -> dict[str, Any]:
        lag = self._service.script.timing.status_lag_seconds
        if lag == 0:
            return {
                name: getattr(task, name) for name in ("status", "user_action", "user_action_updated", "last_updated")
            }
        past = self._service.clock.now() - lag
        seen = [entry for entry in task.history if entry["at"] <= past]
        return seen[-1] if seen else task.history[0]


def _unknown(task_id: str) -> Problem:
    return not_found(f"Batch request with id {task_id}")


def _time(moment: float | None) -> str | None:
    return None if moment is None else iso(moment)
