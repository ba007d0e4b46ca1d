"""
Why a feature failed, and whether it is worth repeating.

The service documents no list of messages, so this is what it is known to say. One table, read from top to bottom: the
first pattern found in the message decides. What lies in the request or in the feature itself is *permanent*: the same
request would fail again. What lies anywhere else, in a server, a rate limit, a bucket's rights, is *transient*, because
it passes or can be put right without touching the request. All the rest is *unknown*, and is repeated.

A feature wrongly called permanent is given up although it could be had; one wrongly called transient costs a few
processing units. So patterns of permanent causes are narrow.

Sources: the error codes of https://docs.planet.com/develop/apis/batch-processing/reference , messages in
https://github.com/Open-EO/openeo-geopyspark-driver/issues/350 and pull/741,
https://github.com/sentinel-hub/sentinelhub-py/issues/27 and issues/152,
https://github.com/sentinel-hub/custom-scripts/issues/3, the retries of
https://github.com/Open-EO/openeo-geotrellis-extensions (geotrellis-sentinelhub),
https://community.planet.com/sentinel-hub-81/trying-to-get-data-from-multiple-tiles-in-process-api-as-bands-of-an-output-file-3373
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

_MAX_MESSAGE = 1000
_CACHED = 4096


class CauseKind(StrEnum):
    """Whether it is worth repeating what failed."""

    TRANSIENT = "TRANSIENT"
    """Worth repeating: it passes, or can be put right without another request."""
    PERMANENT = "PERMANENT"
    """The same request would fail again."""
    UNKNOWN = "UNKNOWN"
    """Not known, so it is repeated."""


@dataclass(frozen=True, slots=True)
class Cause:
    """
    Why something failed.

    :param kind: Whether it is worth repeating.
    :param hint: What to do about it, one sentence or two.
    """

    kind: CauseKind
    hint: str


_T, _P, _U = CauseKind.TRANSIENT, CauseKind.PERMANENT, CauseKind.UNKNOWN

_MEMORY = "It took too much memory. If it fails again, use smaller features, fewer bands or a shorter timeRange."

CAUSES: tuple[tuple[str, CauseKind, str], ...] = (
    # JavaScript says it, but of the machine.
    (r"\bArray buffer allocation failed\b", _U, _MEMORY),
    # The names of JavaScript's errors come first: what follows them is the user's own words, e.g. of a variable.
    (
        (
            r"\b(Reference|Type|Syntax|Range|Eval)Error\b|"
            r"Cannot read propert(y|ies)\b.{0,60} of (undefined|null)\b|\bis not a function\b"
        ),
        _P,
        "The evalscript fails on this feature's data. Correct it; try it on this feature with the Process API.",
    ),
    (
        r"Request body should be non-empty|Missing grant_type parameter",
        _T,
        "The service lost a part of a request within itself. Repeat it.",
    ),
    # A source that cannot be read is told with an outer status of 500 and, inside, the status of its storage.
    (
        r"Illegal request to .{0,500}?HTTP Status: '?(5\d\d|408|429)",
        _T,
        "A server that holds the source images failed. Repeat it later.",
    ),
    (
        r"Illegal request to .{0,500}?HTTP Status: '?(403|404|410)",
        _U,
        (
            "A source image is missing or barred. If it fails again, leave that acquisition out by timeRange, or ask "
            "Sentinel Hub support."
        ),
    ),
    (
        r"RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY",
        _P,
        "One feature costs more than your rate limit can ever hold. Use smaller features or ask for a higher limit.",
    ),
    (
        (
            r"RATE_LIMIT_|\brate[- ]?limit|too many (concurrent )?(requests|connections)|"
            r"Maximum number of concurrent|SlowDown|\bthrottl|\bquota\b.{0,30}\bexceeded\b|"
            r"\bHTTP(/\d(\.\d)?)?\b\D{0,12}429\b|\bstatus\b\D{0,12}429\b"
        ),
        _T,
        "A rate limit was reached. Repeat it later, or run fewer batches at once.",
    ),
    (
        (
            r"ACCESS_INSUFFICIENT_PROCESSING_UNITS|(Insufficient|not enough|no|out of) processing units|OUT_OF_PU\b|"
            r"SENTINEL_ACCOUNT_EXPIRED"
        ),
        _T,
        "The account has no processing units left or has expired. Top it up, then repeat.",
    ),
    (
        r"ExpiredToken|(token|credentials?) (has|have|is|are) expired|InvalidToken|RequestTimeTooSkewed",
        _T,
        "Credentials expired. A rerun uses new ones.",
    ),
    (
        (
            r"Access ?Denied|not authorized|INSUFFICIENT_PERMISSIONS|Service: Amazon S|"
            r"NoSuchBucket|InvalidAccessKeyId|SignatureDoesNotMatch"
        ),
        _U,
        "A bucket or an account refused access. Check the rights of role or keys on the delivery folder, then repeat.",
    ),
    (
        r"time[- ]?out|timed[- ]out|took too long|deadline exceeded|\bTIMEOUT\b",
        _T,
        "It took the service too long. Repeat it; if that does not help, use smaller features or a shorter timeRange.",
    ),
    (
        r"out ?of ?memory|OutOfMemoryError|heap space|memory (limit|exceeded)",
        _U,
        _MEMORY,
    ),
    # In front of what is missing, for it comes back.
    (
        (
            r"\b(re)?try (it )?(again|later)\b|\btemporarily\b|\b(un)?available (yet|at the moment|right now)\b|"
            r"\bconnection (was )?(reset|refused|closed|aborted|lost)\b"
        ),
        _T,
        "The service says that the error is temporary. Repeat it later.",
    ),
    (
        r"RENDERER_S1_MISSING_POLARIZATION|Requested band .{1,60} is not present in",
        _P,
        "An image has no such band. Filter by polarization and acquisitionMode, or ask for bands every image has.",
    ),
    (
        (
            # No slash or colon between, and no tile behind: a file of a band that is missing may come back.
            r"\bbands?:? [\w', \[\]<>\"`-]{1,60} "
            r"((is|are|was|were) (missing|unknown|invalid)|((is|are|was|were) )?not "
            r"(available|found|supported|present|defined)|could not be found|do(es)?(n't| not) exist)\b"
            r"(?! (in|for|of) (the )?(tile|product|scene|image|file)s?\b)|"
            r"\b(no such|unknown|unrecogni[sz]ed|invalid|unsupported|nonexistent) (input )?bands?\b|"
            r"\bno band (named|called)\b|\bis not a (valid |known )?(input )?band\b|"
            # No slash before: that would be the file of one image.
            r"^[^/]*\b(has no|(does not|doesn't|do not) (contain|have|include|provide|support)( (the|a|any))?) "
            r"(input |requested |such )?bands?\b(?! (data|file)s?\b)"
        ),
        _P,
        "The collection has no such band. Correct the evalscript's input bands.",
    ),
    (
        (
            r"unsupported (units|sample ?type|mosaicking|data ?type|format|crs)|"
            r"\b(units|sample ?type|sampleType|mosaicking|crs|format) .{1,60}(is|are) not supported"
        ),
        _P,
        "The service does not support what the request asks for. Correct units, sampleType, mosaicking or CRS.",
    ),
    (
        (
            r"script must (return|contain|define|have)|script can only use|Output .{1,60} requested but|"
            r"Failed to (evaluate|parse|compile) (the )?(eval)?script"
        ),
        _P,
        "The evalscript and the request do not match. Correct what setup() and evaluatePixel() return.",
    ),
    (
        (
            r"Dataset with id.{1,100}(not found|does not exist)|Collection [^/]{1,100}(not found|does not exist)|"
            r"No collection found"
        ),
        _P,
        "There is no such collection on this deployment. Correct the type in input.data.",
    ),
    (
        r"(is|are) larger than allowed|\b(resolution|width|height|area|pixels?)\b.{0,60}(exceeds?|must not exceed)\b",
        _P,
        "The request is over one of the service's limits. Use smaller features or a coarser resolution.",
    ),
    (
        r"self[- ]?intersect|invalid (geometry|polygon|ring)|ring is not closed|unclosed ring|not a valid polygon",
        _P,
        "The feature's geometry is not valid. Repair it and submit that feature again.",
    ),
    (
        r"\b(files?|objects?|outputs?|results?) .{0,200}already exists?\b",
        _T,
        "Results are there already. Set overwrite or skipExisting; a rerun overwrites them.",
    ),
    (
        r"^(\S+ of \S+ intervals failed: )?BAD_REQUEST$",
        _P,
        "The service rejected the request without a reason. Compare this feature's size and place with others'.",
    ),
    (
        (
            # Of intervals that failed for different reasons, the others are worth another try.
            r"COMMON_BAD_PAYLOAD|\bBad Request\b|\bBAD_REQUEST\b(?!.*(EXECUTION_ERROR|TIMEOUT))|"
            r"\bHTTP(/\d(\.\d)?)?\b\D{0,12}400\b|\"status\": ?400\b"
        ),
        _P,
        "The service rejected the request. Correct it as the message says.",
    ),
    (
        (
            r"\binternal (server )?error|\bHTTP(/\d(\.\d)?)?\b\D{0,12}5\d\d\b|\bstatus\b\D{0,12}5\d\d\b|"
            r"\b50[0234] \w+|service unavailable|bad gateway|overloaded|COMMON_DATABASE_ERROR|"
            r"COMMON_ELASTICSEARCH_ERROR|EXECUTION_ERROR"
        ),
        _T,
        "The service failed internally. Repeat it.",
    ),
    (
        # A status, or what stands for one, and nothing else.
        r"^(\S+ of \S+ intervals failed: )?(FAILED|PARTIAL|UNKNOWN|no response|no reason given)$",
        _U,
        "The service gave no reason. Repeat it once; if it stays, ask Sentinel Hub support with the task's id.",
    ),
    (
        (
            r"broken pipe|\bEOF\b|end of stream|ECONNRESET|"
            r"no route to host|UnknownHost|name resolution|\bSSL\b|\bsocket\b"
        ),
        _T,
        "A connection broke. Repeat it.",
    ),
)
"""Pattern (not case sensitive), kind and hint; the first that is found in the message decides."""

_COMPILED = tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), Cause(kind, hint)) for pattern, kind, hint in CAUSES)
_SILENT = Cause(CauseKind.UNKNOWN, "The service gave no reason. Repeat it.")
_UNHEARD_OF = Cause(
    CauseKind.UNKNOWN, "This package does not know the message. Repeat it; contact support if it persists."
)


def cause_of(message: str | None) -> Cause:
    """
    Say why a feature failed.

    :param message: The service's message for it, as it stands in the execution database; its first 1,000 characters
        are looked at. ``None`` or nothing but spaces: the service gave none.
    """
    text = message[:_MAX_MESSAGE].strip() if message else ""
    return _looked_up(text) if text else _SILENT


def is_permanent(message: str | None) -> bool:
    """
    Say whether the same request would fail again.

    :param message: As for :func:`cause_of`.
    """
    return cause_of(message).kind is CauseKind.PERMANENT


@lru_cache(_CACHED)
def _looked_up(text: str) -> Cause:
    return next((cause for pattern, cause in _COMPILED if pattern.search(text)), _UNHEARD_OF)
