"""Refusals in the service's own envelope."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

BAD_PAYLOAD = "COMMON_BAD_PAYLOAD"


class Problem(Exception):
    """
    An answer other than 2xx.

    :param status: HTTP status.
    :param code: The service's error code.
    :param message: The service's text.
    :param errors: Parameter violations, each ``{"parameter", "violation"}``.
    """

    def __init__(self, status: int, code: str, message: str, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors

    def body(self) -> dict[str, Any]:
        """Return the JSON body; ``errors`` is absent where there is no detail."""
        error: dict[str, Any] = {
            "status": self.status,
            "reason": HTTPStatus(self.status).phrase,
            "message": self.message,
            "code": self.code,
        }
        if self.errors:
            error["errors"] = self.errors
        return {"error": error}


class AnalysisFailed(Exception):
    """The task cannot be processed; the text becomes its ``error``."""


class RenderingFailed(Exception):
    """The evalscript, or what it asks for, cannot be rendered; the text is the service's."""


def bad_payload(message: str, errors: list[dict[str, str]] | None = None) -> Problem:
    """
    Return the 400 of an invalid payload or action.

    :param message: The service's text.
    :param errors: Parameter violations.
    """
    return Problem(400, BAD_PAYLOAD, message, errors)


def violations(found: list[dict[str, str]]) -> Problem:
    """
    Return the 400 that lists violations: each text once in ``errors``, all of them in ``message``.

    :param found: Parameter violations; must not be empty.
    """
    return bad_payload("".join(f"{each['violation']}\n" for each in found), found)


def not_found(what: str) -> Problem:
    """
    Return a 404.

    :param what: What does not exist, for the message.
    """
    return Problem(404, "COMMON_NOT_FOUND", f"{what} not found.")


def conflict(message: str) -> Problem:
    """
    Return the 409 of a change that the task's status does not allow.

    :param message: The service's text.
    """
    return Problem(409, BAD_PAYLOAD, message)


def unauthorized() -> Problem:
    """Return the 401 of an absent, unknown, revoked or expired token."""
    return Problem(
        401,
        "COMMON_UNAUTHORIZED",
        "You are not authorized! Please provide a valid access token within the header "
        "[Authorization: Bearer <accessToken>] of your request.",
    )


def forbidden(message: str) -> Problem:
    """
    Return the 403 of a call that is not allowed.

    :param message: The text.
    """
    return Problem(403, "COMMON_INSUFFICIENT_PERMISSIONS", message)


def no_processing_units() -> Problem:
    """Return the 403 of an account below the minimum balance."""
    return Problem(
        403,
        "ACCESS_INSUFFICIENT_PROCESSING_UNITS",
        "Insufficient processing units or requests available in your account.",
    )
