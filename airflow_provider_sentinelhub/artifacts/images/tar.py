"""The tar in which the Process API returns several outputs, taken apart: its names and sizes are not trusted."""

from __future__ import annotations

import shutil
import tarfile
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.images.delivery import EXTENSIONS
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The service adds none; no more than these are looked at.
_MOST_MEMBERS = 1000
_ALSO = {"image/tiff": (".tif", ".tiff"), "image/jpeg": (".jpg", ".jpeg")}


def unpack(archive: Path, formats: Mapping[str, str], folder: Path) -> dict[str, Path]:
    """
    Write the outputs in a tar to files of our own naming. Nothing else in it is written.

    They have at most as many bytes as the tar, because it is not compressed.

    :param archive: The tar.
    :param formats: Media types of the outputs, by identifier.
    :param folder: Where the files are written.
    :returns: The files by identifier.
    :raises ArtifactCorrupt: It is not a tar, or has not exactly one file for each output.
    """
    wanted = {
        f"{name}{ending}": name
        for name, kind in formats.items()
        for ending in _ALSO.get(kind, (f".{EXTENSIONS[kind]}",))
    }
    found: dict[str, Path] = {}
    try:
        with tarfile.open(archive, "r:") as packed:
            for number, member in enumerate(packed):
                name = wanted.get(member.name.removeprefix("./"))
                if name is None or number >= _MOST_MEMBERS:
                    raise ArtifactCorrupt(f"The answer has an unexpected file {one_line(member.name, 100)!r}.")
                if name in found or not member.isreg() or member.issparse():
                    raise ArtifactCorrupt(f"The answer has more than a regular file for output {name}.")
                content = packed.extractfile(member)
                found[name] = folder / f"output-{number}"
                if content is not None:
                    with content, found[name].open("xb") as file:
                        shutil.copyfileobj(content, file, 1024 * 1024)
    except (tarfile.TarError, EOFError, ValueError, UnicodeError) as e:
        raise ArtifactCorrupt(f"The answer is not a tar that can be read ({type(e).__name__}).") from None
    if missing := [name for name in formats if name not in found]:
        raise ArtifactCorrupt(f"The answer has no file for output {', '.join(missing)}.")
    return {name: found[name] for name in formats}
