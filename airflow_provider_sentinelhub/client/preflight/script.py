"""
Rules on an evalscript and on its data sources; the same for every API.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Evalscript/V3.html
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_sentinelhub.client.evalscript.setup import Setup

_MOSAICKING = ("SIMPLE", "ORBIT", "TILE")
_SAMPLE_TYPES = ("AUTO", "INT8", "UINT8", "INT16", "UINT16", "FLOAT32")
_VERSION = re.compile(r"[\s\ufeff]*//\s*VERSION\s*=\s*3\b", re.IGNORECASE)
# A single line that ends in .js, or a word with a folder before it or an extension after it.
_PATH = re.compile(r".*\.js|(?!//)[\w\-.~:\\/ ]*([\\/][\w\-.]+|\.\w{1,5})")
_FUNCTIONS = ("setup", "evaluatePixel")


def is_readable(text: str) -> bool:
    """
    Say whether a text is a script with the required functions.

    :param text: The text.
    """
    return not _is_path(text) and all(name in text for name in _FUNCTIONS)


def check_text(field: str, text: str) -> Iterator[Finding]:
    """
    Find what an evalscript must have.

    :param field: Path of the script in the request.
    :param text: The script.
    """
    if _is_path(text):
        if text.strip().endswith(".js"):
            rule = "is the path of a file, but the service needs the text of the script"
            yield InvalidParameter(field, text, rule, "Read the file and give its text.")
        else:
            rule = "looks like the path of a file, and only files that end in .js are read"
            yield InvalidParameter(field, text, rule, "Rename the file, or give the text of the script.")
        return
    begin = text.strip().partition("\n")[0]
    if not _VERSION.match(text):
        yield InvalidParameter(field, begin, "does not begin with //VERSION=3", "Make that its first line.")
    for name in _FUNCTIONS:
        if name not in text:
            yield InvalidParameter(field, begin, f"has no function {name}()", f"Write a function {name}.")


def check_setup(field: str, setup: Setup) -> Iterator[Finding]:
    """
    Find duplicate outputs, and unknown mosaicking types and sample types.

    :param field: Path of the script in the request.
    :param setup: What the script's ``setup()`` returns.
    """
    for kind in dict.fromkeys(each.mosaicking for each in setup.inputs or ()):
        if kind is not None and kind.upper() not in _MOSAICKING:
            fix = f"Choose one of {', '.join(_MOSAICKING)}."
            yield InvalidParameter(field, f"mosaicking: {kind}", "is not a mosaicking type", fix)
    outputs = setup.outputs or ()
    for name, count in Counter(each.id for each in outputs if each.id is not None).items():
        if count > 1:
            rule = f"is the id of {count} outputs in setup()"
            yield InvalidParameter(field, f"id: {name}", rule, "Give each output its own id.")
    for each in outputs:
        if each.sample_type is not None and each.sample_type not in _SAMPLE_TYPES:
            rule = f"is not a sample type; it is that of output {each.id} in setup()"
            fix = f"Choose one of {', '.join(_SAMPLE_TYPES)}."
            yield InvalidParameter(field, f"sampleType: {each.sample_type}", rule, fix)


def check_sources(field: str, setup: Setup, data: str, sources: Sequence[Json]) -> Iterator[Finding]:
    """
    Compare the script's inputs with the data sources, if there are several.

    :param field: Path of the script in the request.
    :param setup: What the script's ``setup()`` returns.
    :param data: Path of the data sources in the request.
    :param sources: The data sources.
    """
    inputs = setup.inputs
    if inputs is None or len(sources) < 2:  # noqa: PLR2004 - one source needs no name
        return
    known = [str(each["id"]) for each in sources if each.get("id") is not None]
    for each in inputs:
        if each.datasource is not None and each.datasource not in known:
            rule = f"is not the id of a data source; {data} has {', '.join(known) or 'none'}"
            yield InvalidParameter(field, f"datasource: {each.datasource}", rule, "Use the same id in both.")
    if len(inputs) != len(sources):
        fact = f"setup() has {len(inputs)} inputs for {len(sources)} data sources"
        yield Advice(field, fact, "Write one input for each data source, with its id as datasource.")


def _is_path(text: str) -> bool:
    return bool(_PATH.fullmatch(text.strip()))
