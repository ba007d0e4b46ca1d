"""
Turns a request and a raster into pixels: by running the evalscript over synthetic scenes, or quickly.

Quick pixels depend on band and coordinates only, see :mod:`~airflow_provider_sentinelhub.simulator.imagery.rasters`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from airflow_provider_sentinelhub.simulator import evalscript
from airflow_provider_sentinelhub.simulator.imagery import rasters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from airflow_provider_sentinelhub.simulator.evalscript import Output
    from airflow_provider_sentinelhub.simulator.features.features import Feature

Pixels = Literal["evalscript", "quick"]


@dataclass(frozen=True, slots=True)
class Rendered:
    """
    Some rows of all outputs.

    :param first_row: First row, from 0.
    :param outputs: By identifier: bands, rows and columns, in the output's type.
    """

    first_row: int
    outputs: dict[str, NDArray[Any]]


class Renderer:
    """
    Renders one image. Use it in a ``with`` statement.

    ::

        with Renderer(request, feature) as renderer:
            for block in renderer.blocks():
                ...
            renderer.userdata

    :param request: A checked request: ``input.data`` and ``evalscript``.
    :param feature: The raster.
    :param pixels: ``evalscript`` runs the script; ``quick`` does not.
    :raises AnalysisFailed: The script's ``setup()`` is wrong.
    :raises RenderingFailed: The script fails; the text is the service's.
    """

    def __init__(self, request: dict[str, Any], feature: Feature, pixels: Pixels = "evalscript") -> None:
        self._request = request
        self._feature = feature
        self._pixels = pixels
        self._setup = evalscript.parse(request["evalscript"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what runs the script."""

    @property
    def outputs(self) -> dict[str, Output]:
        """The outputs by identifier, with the number of bands that ``updateOutput()`` gave them."""
        return self._setup.outputs

    def blocks(self, wanted: Sequence[str] | None = None, rows: int = rasters.ROWS_AT_ONCE) -> Iterator[Rendered]:
        """
        Render from the top row down.

        :param wanted: Identifiers of outputs; all of them when ``None``.
        :param rows: So many rows at once, and fewer in the last block.
        """
        names = list(self.outputs) if wanted is None else list(wanted)
        for first in range(0, self._feature.height, rows):
            count = min(rows, self._feature.height - first)
            yield Rendered(first, {name: self._quick(self.outputs[name], first, count) for name in names})

    def _quick(self, output: Output, first: int, rows: int) -> NDArray[Any]:
        numbers = range(1, output.bands + 1)
        return np.stack([rasters.pixels(self._feature, band, output.dtype, first, rows) for band in numbers])

    @property
    def userdata(self) -> bytes:
        """The JSON of the ``userdata`` output, once all blocks are rendered."""
        return rasters.userdata(self._feature)
