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

``retryable`` says whether the same step may succeed later without anybody changing anything.

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
    Root of all errors this package raises on purpose.

    :param args: A message. What cannot be printed is taken out of it, but for the ends of its lines.
    """

    retryable = False

    def __init__(self, *args: object) -> None:
        super().__init__(*(printable(arg, keep="\n") if isinstance(arg, str) else arg for arg in args))


class InvalidConfiguration(SentinelHubError):
    """The connection, or a setting it names, cannot be used."""


class InvalidParameter(SentinelHubError):
    """
    A request is wrong, found before anything was sent.

    :param field: Path of the field as the service spells it, e.g. ``input.resolution``.
    :param value: What was given; shortened when long.
    :param rule: What the field must satisfy.
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
        Return this error with further ones found in the same request added to its message.

        :param others: What else is wrong.
        """
        all_of_them = InvalidParameter(self.field, self.value, self.rule, self.fix)
        all_of_them.others = tuple(others)
        all_of_them.args = ("\n".join(str(problem) for problem in (self, *others)),)
        return all_of_them


@dataclass(frozen=True, slots=True)
class Violation:
    """
    One parameter the service refused.

    :param parameter: The service's path of it, e.g. ``output->resx``.
    :param violation: The service's own words.
    """

    parameter: str
    violation: str


class ApiError(SentinelHubError):
    """
    The service said no.

    :param message: What happened, to what, what the service said, and what to do next.
    :param status: HTTP status, or ``None`` where no answer arrived.
    :param code: The service's error code, e.g. ``COMMON_BAD_PAYLOAD``; an open set.
    :param violations: Parameters the service named.
    """

    refuses_action = False
    """Whether it is the answer to an action on a task, which was therefore not carried out."""

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
    """The account has no processing units left; waiting a minute does not bring them back."""


class NotFound(ApiError):
    """The service knows no such thing."""


class InvalidRequest(ApiError):
    """The service refused the request as malformed."""


class IllegalAction(InvalidRequest):
    """The task is not in a state in which this action is allowed: read it again."""


class Conflict(ApiError):
    """The thing cannot be changed now."""


class RateLimited(ApiError):
    """The service kept asking to come back later."""

    retryable = True


class ServiceUnavailable(ApiError):
    """The service could not be reached, or kept failing."""

    retryable = True


class OutcomeUnknown(ServiceUnavailable):
    """The answer to a call that may not be repeated was lost: look before doing it again."""


class UnexpectedAnswer(ApiError):
    """The answer does not have the shape the API promises."""


class TaskError(SentinelHubError):
    """A task ended, and not well."""

    result: Mapping[str, object] | None = None
    """What is known of it all the same, as far as it is: ids, cost, numbers of features, where the report lies."""


class TaskFailed(TaskError):
    """The service gave the task up."""


class TaskStopped(TaskError):
    """The task was stopped, by a user or by the service."""


class TaskTimedOut(TaskError):
    """The task did not finish before the caller's deadline."""


class FeaturesFailed(TaskError):
    """The task is DONE, but some of its features were not delivered."""


class BudgetExceeded(TaskError):
    """The task costs, or would cost, more processing units than the caller allowed."""


class ArtifactError(SentinelHubError):
    """Something a task should have left in the bucket cannot be used."""


class ArtifactMissing(ArtifactError):
    """The object does not exist; while a task runs it may come later."""

    retryable = True


class ArtifactCorrupt(ArtifactError):
    """The object is not what it should be, or was read half-written."""


class StorageUnavailable(ArtifactError):
    """The bucket could not be reached, or refused the credentials."""

    retryable = True


def api_error(name: str, message: str) -> ApiError:
    """
    Make the error again that a trigger met.

    :param name: Name of its class; an unknown one gives an :class:`ApiError`.
    :param message: Its message.
    """
    kind = globals().get(name)
    return kind(message) if isinstance(kind, type) and issubclass(kind, ApiError) else ApiError(message)
