"""What a task lost, ready to be run again by a further one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Rerun:
    """
    What a task lost, ready to be run again.

    :param features_url: GeoPackage of the features, in the bucket of the delivery.
    :param delivery_url: Where the task that runs them again has to write: a folder, or a template.
    :param span: Start of the first and end of the last interval that failed, where features lost nothing but single
        intervals; ``None`` where all intervals are wanted again, or there are none.
    :param features: How many features.
    """

    features_url: str
    delivery_url: str
    span: tuple[datetime, datetime] | None = None
    features: int = 0
