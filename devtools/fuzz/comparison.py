"""What preflight and the simulator say about the same request, and what is known about the differences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.results.preflight import examine
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from airflow_provider_sentinelhub.client.requests.findings import part

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec

CRASH = "preflight fails"
"""How a reason begins that is no reason: preflight has a bug."""

# The deployment in whose region the simulator's bucket is.
_DEPLOYMENT = DEPLOYMENTS["aws-eu-central-1"]


@dataclass(frozen=True, slots=True)
class Judged:
    """
    What preflight says about a request.

    :param body: What would be sent; ``None`` where nothing would be.
    :param reason: The first error; empty where there is none.
    """

    body: dict[str, Any] | None
    reason: str = ""

    @classmethod
    def of(cls, api: ApiSpec, request: Any) -> Judged:
        """
        Ask preflight.

        :param api: The API.
        :param request: The request, without credentials.
        """
        try:
            examined = examine(api, request, _DEPLOYMENT, datetime.now(UTC))
        except Exception as error:  # noqa: BLE001 - whatever it is: preflight has to say it as an error of a field
            return cls(None, f"{CRASH}: {error!r}")
        if not examined.findings.errors:
            return cls(examined.body)
        first = examined.findings.errors[0]
        return cls(None, f"{first.field}: {first.rule}")


@dataclass(frozen=True, slots=True)
class Known:
    """
    A kind of difference that is right.

    :param by: Who refuses: ``preflight`` or ``simulator``.
    :param pattern: Found in the reason.
    :param because: Why the other one does not refuse.
    :param holder: Path of a part that the request must have; any request where it is empty.
    """

    by: str
    pattern: str
    because: str
    holder: tuple[str, ...] = ()


KNOWN = (
    Known(
        "preflight",
        r"is not the name of a region",
        "Preflight knows the region of the deployment and the form of its name. The simulator's bucket takes any.",
    ),
    Known(
        "preflight",
        r"is not a (field|filter), and nearly",
        "Collections may have further filters, so the service may take the name. It was certainly meant as another.",
    ),
    Known(
        "preflight",
        r"is a template that was not rendered",
        "To the service it is a text like any other.",
    ),
    Known(
        "preflight",
        r"is more than the (width|height) of the geometry, .* degrees; its unit is that of the CRS",
        "The simulator makes it one pixel. It is certainly a resolution in metres.",
    ),
    Known(
        "preflight",
        r"^(\S+\.)?evalscript: is not a (band|unit) of ",
        "The simulator makes its pixels up, and takes bands and units of any name.",
    ),
    Known(
        "preflight",
        r"<tileId> is a placeholder that this package does not support",
        "The specification for Copernicus has it. The provider finds results by name.",
    ),
    Known(
        "preflight",
        r"the only interval would be skipped because it is too short",
        "The request is right, but nothing would be computed.",
    ),
    Known(
        "simulator",
        r"nBins must be less than or equal to 100000",
        "The service publishes no limit. The simulator has this one for its memory.",
    ),
    Known(
        "simulator",
        r"Unable to access the \w+ bucket|cannot be read: NoSuchKey",
        "Preflight opens no bucket. The provider looks into it before it creates a task.",
    ),
    Known(
        "simulator",
        r"The folder of the Zarr must be empty",
        "Preflight opens no bucket. It warns of a path that takes one Zarr only.",
    ),
    Known("simulator", r"does not write Zarr", "Said of requests that are right."),
    Known(
        "simulator",
        r"the compressor cannot be used",
        "The service publishes no list of compressors. The simulator takes the usual ones.",
    ),
    Known(
        "simulator",
        r"Invalid input GeoPackage|There are no features to process",
        "Preflight does not read the GeoPackage. The operator that makes input features does.",
        ("input", "features"),
    ),
    Known(
        "simulator",
        r"requested in calculations but missing from",
        "Preflight does not read an evalscript in a bucket.",
        ("aggregation", "evalscriptReference"),
    ),
    Known(
        "preflight",
        r"^output\.responses\.\d+\.identifier: is required$",
        "No reference has this list. The simulator takes a path without an identifier for that of the output default.",
    ),
    Known(
        "simulator",
        r"url must look like s3://bucket/path, not '.*[^<>A-Za-z0-9/\-_.(): '].*'",
        "The service publishes no rule for the characters of a key. The simulator takes those that one of the "
        "service's own programs takes.",
    ),
)


def explanation(by: str, reason: str, request: Any) -> str | None:
    """
    Return why only one of them refuses a request; ``None`` where that is not known.

    :param by: Who refuses.
    :param reason: Its words.
    :param request: The request.
    """
    for known in KNOWN:
        if known.by == by and re.search(known.pattern, reason) and part(request, *known.holder) is not None:
            return known.because
    return None


def kind(reason: str) -> str:
    """
    Return a reason without what differs from case to case.

    :param reason: The words of a refusal.
    """
    shorter = re.sub(r"'[^']*'|\"[^\"]*\"|s3://\S+|\[[^\]]*\]", "_", reason)
    return re.sub(r"-?\d+(\.\d+)?(e[+-]?\d+)?", "0", shorter)[:110]
