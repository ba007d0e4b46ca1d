"""
Rules on responses and on the evalscript's outputs, which have to agree.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/ (responses) and
https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Evalscript/V3.html
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.evalscript import Output, Setup, read_setup, read_version
from airflow_provider_sentinelhub.client.preflight.bands import check_bands
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json, misspelt, objects, part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_sentinelhub.client.http.deployments import Deployment

_MOSAICKING = ("SIMPLE", "ORBIT", "TILE")
_SAMPLE_TYPES = ("AUTO", "INT8", "UINT8", "INT16", "UINT16", "FLOAT32")
_VERSION = 3
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
    yield from _check_version(field, text, begin)
    for name in _FUNCTIONS:
        if name not in text:
            yield InvalidParameter(field, begin, f"has no function {name}()", f"Write a function {name}.")


def _check_version(field: str, text: str, begin: str) -> Iterator[Finding]:
    version, fix = read_version(text), "Make that its first line."
    if version.number is None:
        fact = (
            "has no line //VERSION=3 before the code: the service may read the script as one of an older version, in "
            "which setup() declares inputs and outputs by other means than the object it returns"
        )
        yield Advice(field, fact, fix)
    elif version.number != _VERSION:
        yield InvalidParameter(field, begin, f"is of version {version.number}, not //VERSION=3", fix)
    elif not version.first:
        fact = "has comments before //VERSION=3, although the documentation says that a script starts with it"
        yield Advice(field, fact, fix)


def check_setup(field: str, setup: Setup) -> Iterator[Finding]:
    """
    Find what is wrong with a script, duplicate outputs, and unknown mosaicking types and sample types.

    :param field: Path of the script in the request.
    :param setup: What the script's ``setup()`` returns.
    """
    trouble = setup.trouble
    if trouble is not None and trouble.certain:
        yield InvalidParameter(field, trouble.source, trouble.fact, trouble.fix)
    elif trouble is not None:
        yield Advice(field, trouble.fact, trouble.fix)
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
    Compare the script's inputs with the data sources: their bands and units and, if there are several, their names.

    :param field: Path of the script in the request.
    :param setup: What the script's ``setup()`` returns.
    :param data: Path of the data sources in the request.
    :param sources: The data sources.
    """
    yield from check_bands(field, setup, sources)
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


RESPONSES = "processRequest.output.responses"
EVALSCRIPT = "processRequest.evalscript"
USERDATA = "userdata"
TIFF, JSON, ZARR = "image/tiff", "application/json", "zarr/array"
DATA = ("processRequest", "input", "data")


@dataclass(frozen=True)
class Asked:
    """
    The responses of a request, and the outputs of its evalscript.

    :param body: The request.
    """

    body: Json

    @cached_property
    def evalscript(self) -> str:
        """The script's text; empty if there is none."""
        found = part(self.body, "processRequest", "evalscript")
        return found if isinstance(found, str) else ""

    @cached_property
    def setup(self) -> Setup:
        """What the script's ``setup()`` returns."""
        return read_setup(self.evalscript)

    @cached_property
    def is_zarr(self) -> bool:
        """Whether a Zarr group is written instead of files."""
        return bool(part(self.body, "output", "type") == "zarr")

    @cached_property
    def formats(self) -> dict[str, str]:
        """Formats by identifier; if the request has no responses, the format of the one output that is written."""
        listed = objects(self.body, "processRequest", "output", "responses")
        usual = ZARR if self.is_zarr else TIFF
        found = {str(each.get("identifier", "default")): str(part(each, "format", "type") or usual) for each in listed}
        return found or {"default": usual}

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        """The script's outputs that are written, as far as they can be read."""
        return tuple(each for each in self.setup.outputs or () if each.id in self.formats)


def check_outputs(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find responses and an evalscript that the service would refuse, or that do not match.

    :param body: The request.
    :param deployment: Not used.
    """
    asked = Asked(body)
    yield from _check_responses(asked)
    if asked.evalscript.strip():
        yield from _check_script(asked)


def _check_responses(asked: Asked) -> Iterator[Finding]:
    listed = objects(asked.body, "processRequest", "output", "responses")
    seen: set[str] = set()
    for number, response in enumerate(listed):
        field, kind = f"{RESPONSES}.{number}", part(response, "format", "type")
        yield from misspelt(field, response, ("identifier", "format"))
        identifier = str(response.get("identifier", "default"))
        if identifier in seen:
            yield InvalidParameter(f"{field}.identifier", identifier, "is used twice", "Use each identifier once.")
        seen.add(identifier)
        if asked.is_zarr and kind in {TIFF, JSON}:
            rule = "cannot be written into a Zarr group, which contains zarr/array only"
            fix = f"Write {ZARR}." if kind == TIFF else "Remove this response, or deliver rasters."
            yield InvalidParameter(f"{field}.format.type", kind, rule, fix)
        elif not asked.is_zarr and kind == ZARR:
            rule = "is for Zarr output, but this request delivers rasters"
            yield InvalidParameter(f"{field}.format.type", kind, rule, f"Write {TIFF}, or deliver Zarr.")
        elif kind == JSON and identifier != USERDATA:
            rule = f"is allowed for the identifier {USERDATA} only"
            yield InvalidParameter(f"{field}.format.type", kind, rule, f"Write {TIFF}, or name it {USERDATA}.")
        elif identifier == USERDATA and kind is not None and kind != JSON:
            rule = f"is reserved for the metadata the evalscript writes as {JSON}"
            yield InvalidParameter(f"{field}.identifier", identifier, rule, "Choose another identifier.")


def _check_script(asked: Asked) -> Iterator[Finding]:
    yield from check_text(EVALSCRIPT, asked.evalscript)
    if not is_readable(asked.evalscript):
        return
    yield from check_setup(EVALSCRIPT, asked.setup)
    if asked.setup.trouble is None and not asked.setup.knows_outputs and not asked.setup.resized:
        rule = "not all outputs of setup() can be read, so they cannot be compared with the responses"
        yield Advice(EVALSCRIPT, rule, "Give each of them a text as id and a number as bands.")
    yield from _compare(asked)
    yield from check_sources(EVALSCRIPT, asked.setup, ".".join(DATA), objects(asked.body, *DATA))


def _compare(asked: Asked) -> Iterator[Finding]:
    """Compare responses with outputs, if all outputs are known."""
    declared = [each.id for each in asked.setup.outputs or ()]
    names = [name for name in declared if name is not None]
    wanted = [name for name in asked.formats if name != USERDATA]
    if names and None not in declared:
        missing = [name for name in wanted if name not in names]
        for name in missing:
            yield _no_such_output(asked, name, names)
        idle = [name for name in names if name not in wanted]
        if idle and not missing:
            fact = f"no response uses the evalscript's output {', '.join(idle)}, so it is not delivered"
            yield Advice(RESPONSES, fact, "Add a response, or remove the output from the evalscript.")
    if USERDATA in asked.formats and "userData" not in asked.evalscript:
        fact = f"there is a response {USERDATA}, but the evalscript never sets outputMetadata.userData"
        yield Advice(EVALSCRIPT, fact, "Set it in updateOutputMetadata(), or remove the response.")


def _no_such_output(asked: Asked, name: str, names: list[str]) -> InvalidParameter:
    known = f"the evalscript's setup() has {', '.join(names)}"
    for number, each in enumerate(objects(asked.body, "processRequest", "output", "responses")):
        if str(each.get("identifier", "default")) == name:
            meant = get_close_matches(name, names, n=1) or names[:1]
            field, rule = f"{RESPONSES}.{number}.identifier", f"is not an output of the evalscript; {known}"
            return InvalidParameter(field, name, rule, f"Write {meant[0]}, or correct the evalscript.")
    rule = f"is absent, which means the output {name}, but {known}"
    return InvalidParameter(RESPONSES, None, rule, "Add a response for each output you want.")
