"""
Any exchange with the service against its OpenAPI document: method, path, query, body and answer.

The document is not ours to distribute: name a folder that holds it in ``SENTINELHUB_CONTRACT_DIR``.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jsonschema
import pytest
import yaml

from airflow_provider_sentinelhub.client.http.call import Call
from airflow_provider_sentinelhub.client.http.deployments import PathLayout, Service
from airflow_provider_sentinelhub.simulator.caller import Answer
from airflow_provider_sentinelhub.simulator.process import Simulator

Json = dict[str, Any]
FOLDER = Path(os.environ.get("SENTINELHUB_CONTRACT_DIR") or Path(__file__).parents[2].parent / "shared" / "contract")
DOCUMENT = FOLDER / "sentinel_hub_cdse_openapi.yaml"
WRAPPER: Json = {"$ref": "#/components/schemas/RestErrorWrapper"}
# Parameters of queries that the document lacks: only the service's Python client knew the first, and the second is of
# STAC's filter extension.
UNDOCUMENTED = frozenset({"userid", "filter-lang"})


def document() -> Json:
    """The document with its known mistakes mended; the test is skipped where it is not at hand."""
    if not DOCUMENT.is_file():
        pytest.skip(
            "no OpenAPI document: set SENTINELHUB_CONTRACT_DIR to a folder with sentinel_hub_cdse_openapi.yaml "
            "(https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/ApiReference.html)"
        )
    return copy.deepcopy(_mended())


@cache
def _mended() -> Json:
    loaded: Json = yaml.load(DOCUMENT.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    schemas = loaded["components"]["schemas"]
    # Known mistakes of the document: `group` belongs to Zarr only, and an identifier is anything, not "<identifier>".
    schemas["BatchV2RasterOutput"]["required"] = ["delivery", "type"]
    for name in ("BatchV2Response", "BatchResponse", "Response"):
        del schemas[f"ProcessRequestOutput{name}"]["properties"]["identifier"]["enum"]
    # It refers to this parameter, and does not have it.
    loaded["components"]["parameters"]["BatchV2RequestId"] = {"name": "taskId", "in": "path"}
    # STAC 1.0 has other names for the ends of a range, and the end of an interval that goes on is null.
    statistics = schemas["CatalogCollection"]["properties"]["summaries"]["additionalProperties"]["oneOf"][1]
    statistics["required"] = ["minimum", "maximum"]
    ends = schemas["CatalogExtent"]["properties"]["temporal"]["properties"]["interval"]["items"]["items"]
    ends["type"] = ["string", "null"]
    # A filter may be text as well: the document has this value of filter-lang.
    filters = schemas["CatalogItemSearchFilterSearchBody"]["properties"]
    filters["filter"] = {"anyOf": [filters["filter"], {"type": "string"}]}
    # Details of an error are a list, and a data source may fit the description of a user's own collection as well.
    del schemas["Boom"]["properties"]["errors"]
    items = schemas["ProcessRequestInputData"]["items"]
    items["anyOf"] = items.pop("oneOf")
    # Histograms have overflowCount and underflowCount, and what has no value is the string "NaN".
    bands = schemas["BandStatistics"]["properties"]
    counts = bands["histogram"]["properties"]
    for name in ("overflow", "underflow"):
        counts[f"{name}Count"] = counts.pop(name)
    for part in (bands["histogram"], bands["stats"]):
        part.update({"additionalProperties": False, "required": [*part["properties"]]})
    bands["stats"]["required"].remove("percentiles")
    stats = bands["stats"]["properties"]
    for name in ("min", "max", "mean", "stDev"):
        stats[name] = {"anyOf": [stats[name], {"const": "NaN"}]}
    stats["percentiles"]["additionalProperties"] = {"anyOf": [{"type": "number"}, {"const": "NaN"}]}
    # Percentiles go to 100 in all the examples.
    schemas["StatisticsDefinition"]["properties"]["percentiles"]["properties"]["k"]["items"]["maximum"] = 100
    # It lacks the key that says whether an answer is complete and one of newer documents, and misspells another.
    schemas["StatisticalResponse"].update(
        {
            "properties": {
                **schemas["StatisticalResponse"]["properties"],
                "status": {"enum": ["OK", "PARTIAL", "FAILED"]},
                "geometryPixelCount": {"type": ["integer", "null"]},
            },
            "required": ["data", "status"],
            "additionalProperties": False,
        }
    )
    status = schemas["BatchStatisticsTaskStatusDto"]["properties"]
    status["costPU"] = status.pop("costPu")
    return loaded


def validate(document: Json, schema: Json, value: Any) -> None:
    """Compare a value with a schema of the document; all differences are told together."""
    merged = {**copy.deepcopy(schema), "components": document["components"]}
    validator = jsonschema.Draft202012Validator(merged, format_checker=jsonschema.FormatChecker())
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
    assert not errors, "\n".join(errors)


def legacy(path: str) -> str:
    """A path as the document has it: it only knows the old layout."""
    for service in sorted(Service, key=len, reverse=True):
        new = service.prefix(PathLayout.NEW)
        if path == new or path.startswith((f"{new}/", f"{new}?")):
            return service.prefix(PathLayout.LEGACY) + path.removeprefix(new)
    return path


@dataclass(frozen=True)
class Contract:
    """
    The document, asked about single exchanges.

    :param document: What :func:`document` returned.
    """

    document: Json

    def operation(self, method: str, path: str) -> Json:
        """The operation of a path, which may have either layout and a query."""
        plain = legacy(urlsplit(path).path)
        # One without a variable part comes before one that would also fit.
        for template in sorted(self.document["paths"], key=lambda each: each.count("{")):
            if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), plain):
                assert method.lower() in self.document["paths"][template], f"{method} {template} is not in the document"
                found: Json = self.document["paths"][template][method.lower()]
                return found
        raise AssertionError(f"{plain} is not in the document")

    def check_request(self, method: str, path: str, body: Any = None) -> None:
        """Compare what is sent with the document: the query's parameters, and the body."""
        operation = self.operation(method, path)
        parameters = [self._resolved(each) for each in operation.get("parameters", ())]
        names = {each["name"] for each in parameters if each["in"] == "query"}
        others = {name for name, _ in parse_qsl(urlsplit(path).query)} - UNDOCUMENTED - names
        assert not others, f"{method} {path}: {others} not in the document, only {names}"
        if body is None:
            assert not operation.get("requestBody", {}).get("required", False)
            return
        assert "requestBody" in operation, f"{method} {path} has no body in the document"
        schema = self._json(operation["requestBody"]["content"])
        assert schema is not None
        validate(self.document, schema, body)

    def check_answer(self, method: str, path: str, answer: Answer) -> None:
        """Compare an answer with the document: status, type and body."""
        responses = self.operation(method, path)["responses"]
        described = self._resolved(responses.get(str(answer.status), {}))
        kinds = described.get("content", {})
        if answer.status >= 400 and not kinds:
            validate(self.document, WRAPPER, answer.body)
            return
        assert str(answer.status) in responses, f"{method} {path} answered {answer.status}: {answer.body}"
        if not kinds:
            assert answer.body is None
            return
        kind = answer.headers["content-type"].partition(";")[0]
        schema = self._json(kinds)
        if "json" not in kind or schema is None:
            assert kind in kinds
            return
        validate(self.document, schema, answer.body)

    def send(self, sim: Simulator, call: Call[Any], layout: PathLayout = PathLayout.NEW) -> Any:
        """Send a Call to the simulator, compare both ways with the document, and return what the Call parses."""
        path = call.service.prefix(layout) + call.path + (f"?{urlencode(call.query)}" if call.query else "")
        self.check_request(call.method, path, None if call.body is None else dict(call.body))
        answer = sim.call(call.method, path, call.body)
        self.check_answer(call.method, path, answer)
        assert answer.status < 400, answer.body
        return call.parse(answer.body)

    def refused(self, sim: Simulator, method: str, path: str, body: Any = None) -> int:
        """Send what the service refuses, compare the answer with the document, and return its status."""
        answer = sim.call(method, path, body)
        assert answer.status >= 400, answer.body
        self.check_answer(method, path, answer)
        return answer.status

    def _resolved(self, part: Json) -> Json:
        found: Any = part
        if "$ref" in part:
            found = self.document
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step]
        resolved: Json = found
        return resolved

    @staticmethod
    def _json(content: Mapping[str, Json]) -> Json | None:
        # One of them is spelt "aplication/json".
        return next((each["schema"] for kind, each in content.items() if "json" in kind and "schema" in each), None)
