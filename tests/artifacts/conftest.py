from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.artifacts.artifact_s3 import KEY, S3, SECRET, start_s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    folder = tmp_path_factory.mktemp("s3")
    server = start_s3(folder / "buckets", folder / "log", "--auth-key", f"{KEY},{SECRET}")
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture
def own_s3(tmp_path: Path) -> Iterator[S3]:
    """A server of the test's own, to be harmed."""
    server = start_s3(tmp_path / "buckets", tmp_path / "log", "--auth-key", f"{KEY},{SECRET}")
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture
def open_s3(tmp_path: Path) -> Iterator[S3]:
    """A server that takes everybody; it also speaks enough of Google's XML API."""
    server = start_s3(tmp_path / "buckets", tmp_path / "log")
    yield server
    server.process.kill()
    server.process.wait()


@pytest.fixture
def folder_url(request: pytest.FixtureRequest) -> str:
    """A folder of the test's own in the shared bucket."""
    return f"s3://bucket/{request.node.originalname}-{time.time_ns()}"
