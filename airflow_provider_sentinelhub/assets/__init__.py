"""What a DAG does with the asset events of Sentinel Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.exports import lazy

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.assets.acquisitions import NewAcquisition, NewAcquisitions, new_acquisitions

__all__ = ["NewAcquisition", "NewAcquisitions", "new_acquisitions"]

if not TYPE_CHECKING:
    __getattr__ = lazy(__name__, {"acquisitions": ("NewAcquisition", "NewAcquisitions", "new_acquisitions")})
