"""Rules on requests for a single image: those on ``processRequest`` of a batch, with the fields as they are here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.preflight.outputs import check_outputs
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.http.deployments import Deployment

_HOLDER: Final = "processRequest"
_PREFIX: Final = f"{_HOLDER}."


def check_image_outputs(body: Json, deployment: Deployment | None) -> Iterator[Finding]:
    """
    Find responses and an evalscript that the service would refuse, or that do not match.

    :param body: The request, with ``input``, ``output`` and ``evalscript``.
    :param deployment: Not used.
    """
    for found in check_outputs({_HOLDER: body}, deployment):
        if isinstance(found, Advice):
            yield Advice(_own(found.field), _own(found.fact), _own(found.fix))
        else:
            yield InvalidParameter(_own(found.field), found.value, _own(found.rule), _own(found.fix))


def _own(text: str) -> str:
    return text.replace(_PREFIX, "")
