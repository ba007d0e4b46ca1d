"""
What one Airflow task instance wants, as a tag by which its remote task is found in the service's list.

The tag is in a field of the request that the API returns, see ``TaskApiSpec.tagged``. Text before or after it does no
harm; a text that replaces it loses it. E.g. in a description:
``Corsica | airflow:9f8e7d6c/dag/run/task/3#1a2b3c4d5e6f7a8b~2``, and ``…~2^1:<id>`` for the first rerun of the task
``<id>``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

_DIGEST_CHARS = 16
INSTALLATION_CHARS = 8
_PART = r"(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})+"
# It must not be part of a longer word: the generation 1 read from a 12, or a rerun without its number, would belong to
# another task.
TAG = (
    rf"(?<![\w%])airflow:(?P<installation>[0-9a-f]{{8}})/(?P<dag>{_PART})/(?P<run>{_PART})/(?P<task>{_PART})"
    r"(?:/(?P<map>[0-9]{1,9}))?#(?P<digest>[0-9a-f]{16})~(?P<generation>[0-9]{1,9})"
    r"(?:\^(?P<rerun>[0-9]{1,9}):(?P<original>[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*))?(?![\w%^~]|[-.:/#][\w%])"
)
"""A regular expression for the tag of any intent, anywhere in a text."""
_TAG = re.compile(TAG)
_UNHASHED = frozenset({"accessKey", "secretAccessKey", "iamRoleARN", "credentials"})


@dataclass(frozen=True, slots=True)
class Intent:
    """
    What a task instance wants.

    :param dag_id: The DAG.
    :param run_id: The DAG run.
    :param task_id: The Airflow task.
    :param map_index: Index of a mapped task; -1 if it is not mapped.
    :param digest: Digest of the request, see :func:`digest`.
    :param generation: ``max_tries`` of the task instance: a clear by a user increases it, a retry does not. So a retry
        continues with the same remote task, and a clear means a new one.
    :param rerun: Number of the rerun of failed features, from 1; 0 for the original task.
    :param original: Id of the task the features failed in; empty if ``rerun`` is 0.
    :param installation: Which Airflow installation it is, 8 hexadecimal digits: another one that uses the same account
        may have a DAG, run and task of the same names.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    digest: str
    generation: int
    rerun: int = 0
    original: str = ""
    installation: str = "0" * INSTALLATION_CHARS

    @property
    def instance(self) -> tuple[str, str, str, str, int]:
        """The task instance alone."""
        return self.installation, self.dag_id, self.run_id, self.task_id, self.map_index

    def is_older_of(self, other: Intent) -> bool:
        """
        Whether it is the same intent of the same task instance, before a clear.

        :param other: The current intent.
        """
        return self.generation != other.generation and replace(self, generation=other.generation) == other

    @property
    def tag(self) -> str:
        """The intent as text."""
        parts = [quote(part, safe="") for part in (self.dag_id, self.run_id, self.task_id)]
        if self.map_index >= 0:
            parts.append(str(self.map_index))
        rerun = f"^{self.rerun}:{self.original}" if self.rerun else ""
        return f"airflow:{self.installation}/{'/'.join(parts)}#{self.digest}~{self.generation}{rerun}"

    @classmethod
    def found_in(cls, text: str) -> Intent | None:
        """
        Read the last tag in a text; ``None`` if there is none.

        :param text: Any text.
        """
        match = None
        for match in _TAG.finditer(text):  # noqa: B007 - the last one is wanted
            pass
        if match is None:
            return None
        dag, run, task = (unquote(match[name]) for name in ("dag", "run", "task"))
        return cls(
            dag,
            run,
            task,
            int(match["map"] or -1),
            match["digest"],
            int(match["generation"]),
            int(match["rerun"] or 0),
            match["original"] or "",
            match["installation"],
        )


def digest(body: Mapping[str, Any]) -> str:
    """
    Return a digest of a request.

    :param body: The request; credentials and the description are ignored.
    """
    asked_for = {key: _without(value) for key, value in body.items() if key != "description"}
    canonical = json.dumps(asked_for, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_DIGEST_CHARS]


def _without(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(item) for key, item in value.items() if key not in _UNHASHED}
    if isinstance(value, list):
        return [_without(item) for item in value]
    return value
