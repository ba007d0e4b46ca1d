"""
Locations in a bucket, and the credentials for them.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from airflow_provider_sentinelhub.client.models import RequestModel, Text, broken


class S3Bucket(RequestModel):
    """
    A location on S3, with a role or a pair of keys.

    :param url: ``s3://bucket/path``.
    :param iam_role_arn: Role that the service assumes.
    :param access_key: Access key id.
    :param secret_access_key: Secret of that key.
    :param region: Region of the bucket; the deployment's where absent.
    """

    url: str
    iam_role_arn: Annotated[str | None, Field(alias="iamRoleARN")] = None
    access_key: Annotated[str | None, Field(repr=False)] = None
    secret_access_key: Annotated[str | None, Field(repr=False)] = None
    region: str | None = None


class GcsBucket(RequestModel):
    """
    A location on Google Cloud Storage, with credentials.

    :param url: ``gs://bucket/path``.
    :param credentials: Base64 of a service account's JSON key.
    """

    url: str
    credentials: Annotated[str | None, Field(repr=False)] = None


class ObjectStorage(RequestModel):
    """
    A location in one of the two object storages.

    :param s3: On S3.
    :param gs: On Google Cloud Storage.
    """

    s3: Annotated[S3Bucket, Text] | None = None
    gs: Annotated[GcsBucket, Text] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> ObjectStorage:
        if (self.s3 is None) == (self.gs is None):
            broken("must hold either s3 or gs", 'Write {"s3": {"url": "s3://bucket/path"}}.')
        return self
