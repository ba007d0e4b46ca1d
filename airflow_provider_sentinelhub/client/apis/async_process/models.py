"""
Async Process: the models of its requests and answers.

Source: https://docs.planet.com/develop/apis/async-processing/reference/
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from airflow_provider_sentinelhub.client.apis.process.models import ImageInput, ImageOutput
from airflow_provider_sentinelhub.client.lifecycle.tasks import ID
from airflow_provider_sentinelhub.client.models import AnswerModel, Evalscript, Request, Text, broken
from airflow_provider_sentinelhub.client.requests.delivery import ObjectStorage
from airflow_provider_sentinelhub.client.text import one_line


class DeliveredOutput(ImageOutput):
    """
    Size and formats of the image, and where it is delivered.

    :param delivery: A folder, or a template with ``<REQUEST_ID>`` and ``<OUTPUT>``.
    """

    delivery: Annotated[ObjectStorage, Text]


class AsyncProcessRequest(Request):
    """
    An Async Process request: one image of an area, delivered to a bucket.

    :param input: Area and data.
    :param output: Size, formats and delivery.
    :param evalscript: The JavaScript that computes a pixel.
    :param evalscript_reference: Location of the script, instead of ``evalscript``.
    """

    input: Annotated[ImageInput, Text]
    output: Annotated[DeliveredOutput, Text]
    evalscript: Evalscript | None = None
    evalscript_reference: Annotated[ObjectStorage, Text] | None = None

    @model_validator(mode="after")
    def _one_script(self) -> AsyncProcessRequest:
        if (self.evalscript is None) == (self.evalscript_reference is None):
            broken("must hold either evalscript or evalscriptReference", "Give the script's text, or its URL.")
        return self


class AcceptedRequest(AnswerModel):
    """
    A request that the service has accepted, as it describes it while it runs.

    :param id: Its id.
    :param status: RUNNING.
    """

    id: Annotated[str, Field(pattern=f"^{ID}$")]
    status: Annotated[str, AfterValidator(one_line)] = ""
