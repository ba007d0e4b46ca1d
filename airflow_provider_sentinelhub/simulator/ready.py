"""URLs and credentials of a running simulator."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Ready:
    """
    URLs and credentials of a running simulator, which it prints when it is up.

    :param base_url: URL of the API.
    :param token_url: URL of the token endpoint.
    :param client_id: OAuth client.
    :param client_secret: Its secret.
    :param s3_endpoint: URL of the S3 server.
    :param access_key_id: S3 key.
    :param secret_access_key: Its secret.
    :param role_arn: Role that may be given in place of the key.
    :param region: Region of the deployment.
    :param bucket: A bucket that exists.
    :param admin_url: URL of the admin interface.
    :param home: Folder of the state; the bucket's files are in ``buckets/<bucket>``.
    :param pid: Process id.
    """

    base_url: str
    token_url: str
    client_id: str
    client_secret: str
    s3_endpoint: str
    access_key_id: str
    secret_access_key: str
    role_arn: str
    region: str
    bucket: str
    admin_url: str
    home: str
    pid: int

    def line(self) -> str:
        """Return the line of JSON that the simulator prints."""
        return json.dumps(asdict(self))

    def airflow_connections(self, path_layout: str = "new") -> dict[str, str]:
        """
        Return environment variables with Airflow's default connections to this simulator.

        :param path_layout: ``new`` or ``legacy``.
        """
        sentinelhub = {
            "conn_type": "sentinelhub",
            "login": self.client_id,
            "password": self.client_secret,
            "host": self.base_url,
            "extra": {"deployment": "custom", "token_url": self.token_url, "path_layout": path_layout},
        }
        aws = {
            "conn_type": "aws",
            "login": self.access_key_id,
            "password": self.secret_access_key,
            "extra": {"region_name": self.region, "endpoint_url": self.s3_endpoint},
        }
        return {
            "AIRFLOW_CONN_SENTINELHUB_DEFAULT": json.dumps(sentinelhub),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
        }
