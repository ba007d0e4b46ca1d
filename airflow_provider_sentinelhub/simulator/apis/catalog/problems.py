"""Refusals of the catalog, which have a form of their own."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from airflow_provider_sentinelhub.simulator.problems import Problem


class CatalogProblem(Problem):
    """
    An answer other than 2xx, as the catalog writes it.

    :param status: HTTP status.
    :param description: The text.
    """

    def __init__(self, status: int, description: str) -> None:
        super().__init__(status, HTTPStatus(status).phrase, description)

    def body(self) -> dict[str, Any]:
        """Return the JSON body."""
        return {"code": self.code, "description": self.message}


def invalid(description: str) -> CatalogProblem:
    """
    Return the 400 of a search that is not valid.

    :param description: The text.
    """
    return CatalogProblem(400, description)


def missing(what: str) -> CatalogProblem:
    """
    Return a 404.

    :param what: What does not exist.
    """
    return CatalogProblem(404, f"{what} not found.")
