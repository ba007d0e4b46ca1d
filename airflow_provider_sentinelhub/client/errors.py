"""
Every way the service, the bucket and the request itself can say no.

::

    SentinelHubError
    ├── InvalidConfiguration        the connection or an environment setting is wrong or missing
    ├── InvalidParameter            a request is wrong before it is sent: field, value, rule and fix are named
    ├── ApiError                    the service answered, and the answer was no
    │   ├── AuthenticationError     401, or the token endpoint refused the client
    │   ├── PermissionDenied        403
    │   │   └── InsufficientProcessingUnits
    │   ├── NotFound                404
    │   ├── InvalidRequest          400, with the service's own parameter violations
    │   │   └── IllegalAction       400, because the task is in another state than the action needs
    │   ├── Conflict                409
    │   ├── RateLimited             429, longer than the policy was willing to wait
    │   │   └── TooManyRunning      429, because the account already runs as many requests as it may
    │   ├── ServiceUnavailable      5xx, a broken connection or a timeout, longer than the policy was willing to wait
    │   │   └── OutcomeUnknown      the same for a call that may not be repeated: it may have been carried out
    │   └── UnexpectedAnswer        an answer that is not what the API promises
    ├── TaskError                   a task ended, and not well
    │   ├── TaskFailed              status FAILED
    │   ├── TaskStopped             status STOPPED, by a user or by the service
    │   ├── TaskTimedOut            not finished before the caller's deadline
    │   ├── FeaturesFailed          status DONE, but some features were not delivered
    │   └── BudgetExceeded          the task costs, or would cost, more than the caller allowed
    └── ArtifactError               what a task leaves in the bucket
        ├── ArtifactMissing         the object does not exist (yet)
        ├── ArtifactCorrupt         the object is not what it should be
        └── StorageUnavailable      the bucket could not be reached or refused the credentials

``retryable`` says whether a retry may succeed although nothing was changed.

Source: https://docs.planet.com/develop/apis/batch-processing/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN = 200


class SentinelHubError(Exception):
    """
    Base of all errors of this package.

    :param args: The message. Characters that cannot be printed are removed, except line breaks.
    """

    retryable = False

    def __init__(self, *args: object) -> None:
        super().__init__(*(printable(arg, keep="\n") if isinstance(arg, str) else arg for arg in args))


class InvalidConfiguration(SentinelHubError):
    """The connection, or one of its settings, is wrong or missing."""


class InvalidParameter(SentinelHubError):
    """
    A request is wrong; nothing was sent.

    :param field: Path of the field as the service spells it, e.g. ``input.resolution``.
    :param value: The given value; shortened if it is long.
    :param rule: The rule it breaks.
    :param fix: What to write instead.
    """

    def __init__(self, field: str, value: object, rule: str, fix: str) -> None:
        text = repr(value)
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
        super().__init__(f"{field} = {shown}: {rule}. {fix}")
        self.field = field
        self.value = value
        self.rule = rule
        self.fix = fix
        self.others: tuple[InvalidParameter, ...] = ()

    def with_others(self, others: Sequence[InvalidParameter]) -> InvalidParameter:
        """
        Return this error with further errors of the same request added to its message.

        :param others: The further errors.
        """
        all_of_them = InvalidParameter(self.field, self.value, self.rule, self.fix)
        all_of_them.others = tuple(others)
        all_of_them.args = ("\n".join(str(problem) for problem in (self, *others)),)
        return all_of_them


@dataclass(frozen=True, slots=True)
class Violation:
    """
    One parameter the service refused.

    :param parameter: Its path as the service writes it, e.g. ``output->resx``.
    :param violation: The service's message.
    """

    parameter: str
    violation: str


class ApiError(SentinelHubError):
    """
    The service refused a request or did not answer.

    :param message: What failed, what the service said, and what to do next.
    :param status: HTTP status, or ``None`` if there was no answer.
    :param code: The service's error code, e.g. ``COMMON_BAD_PAYLOAD``; an open set.
    :param violations: Parameters the service refused.
    """

    refuses_action = False
    """Whether the service refused an action on a task, which was therefore not carried out."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        violations: tuple[Violation, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.violations = violations


class AuthenticationError(ApiError):
    """The client id or secret is wrong, or a fresh token was refused."""


class PermissionDenied(ApiError):
    """The account may not do this."""


class InsufficientProcessingUnits(PermissionDenied):
    """The account has no processing units left; a retry does not help."""


class NotFound(ApiError):
    """The resource does not exist."""


class InvalidRequest(ApiError):
    """The service refused the request as invalid."""


class IllegalAction(InvalidRequest):
    """The action is not allowed in the task's current state: read the task again."""


class Conflict(ApiError):
    """The resource cannot be changed now."""


class RateLimited(ApiError):
    """The service kept answering 429."""

    retryable = True


class TooManyRunning(RateLimited):
    """The account already runs as many requests as it may: wait until one of them ends."""


class ServiceUnavailable(ApiError):
    """The service could not be reached, or kept failing."""

    retryable = True


class OutcomeUnknown(ServiceUnavailable):
    """The answer to a call that must not be repeated was lost: look for its result before sending it again."""


class UnexpectedAnswer(ApiError):
    """The answer does not have the documented form."""


class TaskError(SentinelHubError):
    """A task did not succeed."""

    result: Mapping[str, object] | None = None
    """What is known of the task, as far as possible: ids, cost, numbers of features, URL of the report."""


class TaskFailed(TaskError):
    """The task is FAILED."""


class TaskStopped(TaskError):
    """The task was stopped, by a user or by the service."""


class TaskTimedOut(TaskError):
    """The task did not finish before the caller's deadline."""


class FeaturesFailed(TaskError):
    """The task is DONE, but some of its features were not delivered."""


class BudgetExceeded(TaskError):
    """The task costs, or would cost, more processing units than the caller allowed."""


class ArtifactError(SentinelHubError):
    """An object of a task in the bucket cannot be used."""


class ArtifactMissing(ArtifactError):
    """The object does not exist; while a task runs it may appear later."""

    retryable = True


class ArtifactCorrupt(ArtifactError):
    """The object is corrupt or was read while it was written."""


class StorageUnavailable(ArtifactError):
    """The bucket could not be reached, or refused the credentials."""

    retryable = True


def api_error(name: str, message: str) -> ApiError:
    """
    Return the error that a trigger reported.

    :param name: Name of its class; for an unknown name an :class:`ApiError` is returned.
    :param message: Its message.
    """
    kind = globals().get(name)
    return kind(message) if isinstance(kind, type) and issubclass(kind, ApiError) else ApiError(message)
