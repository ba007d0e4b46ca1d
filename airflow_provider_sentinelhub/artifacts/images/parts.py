"""
The parts of an image that were paid for, kept in the bucket until the image is complete.

What a part cost is in its name: a part and its cost are written at once, or not at all.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.requests.raster import Cell

_NAME = re.compile(r"(\d+)-(\d+)_(\d+(?:\.\d+)?(?:e-?\d+)?|unknown)\.tif")


@dataclass(frozen=True, slots=True)
class KeptPart:
    """
    A part in the bucket.

    :param url: Its URL.
    :param pu: Processing units it cost; ``None`` if the service did not say it.
    """

    url: str
    pu: float | None


@dataclass(frozen=True, slots=True)
class Parts:
    """
    The folder with the parts of one image.

    :param storage: Reaches the bucket.
    :param url: The folder; nothing else is in it.
    """

    storage: Storage
    url: str

    def kept(self) -> dict[tuple[int, int], KeptPart]:
        """
        Return the parts by their first row and column.

        :raises StorageUnavailable: The bucket cannot be read.
        """
        found: dict[tuple[int, int], KeptPart] = {}
        for each in self.storage.list(f"{self.url}/"):
            name = _NAME.fullmatch(each.url.rpartition("/")[2])
            if name is not None:
                pu = None if name[3] == "unknown" else float(name[3])
                kept = KeptPart(each.url, pu if pu is not None and math.isfinite(pu) else None)
                found.setdefault((int(name[1]), int(name[2])), kept)
        return found

    def keep(self, cell: Cell, pu: float | None, path: Path) -> None:
        """
        Write a part.

        :param cell: Which part it is.
        :param pu: Processing units it cost; ``None`` if the service did not say it.
        :param path: The file.
        :raises StorageUnavailable: The bucket cannot be written.
        """
        cost = "unknown" if pu is None else repr(float(pu))
        self.storage.upload(path, f"{self.url}/{cell.row}-{cell.column}_{cost}.tif")

    def delete(self) -> None:
        """
        Delete all parts.

        :raises StorageUnavailable: The bucket cannot be written.
        """
        for each in self.kept().values():
            self.storage.delete(each.url)
