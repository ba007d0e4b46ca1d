"""The features a task failed to deliver, as input of a rerun."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Rerun:
    """
    What to rerun.

    :param features_url: GeoPackage of the features, in the bucket of the delivery.
    :param delivery_url: Where the rerun delivers to: a folder, or a template.
    :param span: Start of the first and end of the last failed interval, if only single intervals of the features
        failed; ``None`` if all intervals are needed, or the API has none.
    :param features: Number of features.
    """

    features_url: str
    delivery_url: str
    span: tuple[datetime, datetime] | None = None
    features: int = 0
