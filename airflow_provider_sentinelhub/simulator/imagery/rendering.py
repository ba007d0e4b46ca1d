"""
Turns a request and a raster into pixels: by running the evalscript over synthetic scenes, or quickly.

Quick pixels depend on band and coordinates only, see :mod:`~airflow_provider_sentinelhub.simulator.imagery.rasters`.
They are also what is written where the simulator has no samples of a data source.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from airflow_provider_sentinelhub.simulator import evalscript
from airflow_provider_sentinelhub.simulator.imagery import rasters
from airflow_provider_sentinelhub.simulator.imagery.evaluation.engine import Evaluation
from airflow_provider_sentinelhub.simulator.imagery.inputs import reads_of
from airflow_provider_sentinelhub.simulator.imagery.sources import Block

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from airflow_provider_sentinelhub.simulator.evalscript import Output
    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.imagery.inputs import Period, Read

Pixels = Literal["evalscript", "quick"]
SAMPLES_AT_ONCE: Final = 250_000
"""Samples of one source that a script is given at once."""
USERDATA: Final = "userdata"


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
    :param wanted: Identifiers of outputs; all of them when ``None``. Others may be missing in what the script returns.
    :param sample_type: In place of AUTO; statistics have another default.
    :param period: In place of the time ranges of the request.
    :raises AnalysisFailed: The script's ``setup()`` is wrong.
    :raises RenderingFailed: The script fails; the text is the service's.
    """

    def __init__(
        self,
        request: dict[str, Any],
        feature: Feature,
        pixels: Pixels = "evalscript",
        *,
        wanted: Sequence[str] | None = None,
        sample_type: str = "AUTO",
        period: Period | None = None,
    ) -> None:
        self._data: list[dict[str, Any]] = request["input"]["data"]
        self._feature = feature
        self._setup = evalscript.parse(request["evalscript"])
        self._outputs = {name: _typed(each, sample_type) for name, each in self._setup.outputs.items()}
        self._wanted = [each for each in self._outputs if wanted is None or each in wanted]
        self._all: list[Read] = []
        self._reads: list[Read] = []
        self._kept: list[list[int]] = []
        self._evaluation: Evaluation | None = None
        reads = reads_of(self._setup, self._data, feature, period) if pixels == "evalscript" else None
        if reads is not None:
            self._all = reads
            self._evaluation = Evaluation(request["evalscript"])
            try:
                self._begin(reads)
            except BaseException:
                self._evaluation.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what runs the script."""
        if self._evaluation is not None:
            self._evaluation.close()

    @property
    def outputs(self) -> dict[str, Output]:
        """The outputs by identifier, with the number of bands that ``updateOutput()`` gave them."""
        return self._outputs

    @property
    def has_scenes(self) -> bool:
        """Whether any data source has a scene there."""
        return self._evaluation is None or any(read.samples for read in self._reads)

    @property
    def runs(self) -> bool:
        """Whether the script is run; otherwise pixels are quick ones."""
        return self._evaluation is not None

    def during(self, period: Period) -> None:
        """
        Read a part of the time range.

        :param period: Its beginning and end.
        :raises RenderingFailed: The script fails.
        """
        if self._evaluation is not None:
            self._begin([each.during(period) for each in self._all])

    def blocks(self, wanted: Sequence[str] | None = None, rows: int | None = None) -> Iterator[Rendered]:
        """
        Render from the top row down.

        :param wanted: Identifiers of outputs, of those that are wanted at all; all of these when ``None``.
        :param rows: So many rows at once, and fewer in the last block; what takes little memory when ``None``.
        :raises RenderingFailed: The script fails.
        """
        each = rows or self._rows_at_once
        for first in range(0, self._feature.height, each):
            yield Rendered(first, self.render(first, min(each, self._feature.height - first), wanted))

    def render(self, first_row: int, rows: int, wanted: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """
        Render some rows.

        :param first_row: First row, from 0.
        :param rows: Number of rows.
        :param wanted: See :meth:`blocks`.
        :returns: By identifier: bands, rows and columns.
        :raises RenderingFailed: The script fails.
        """
        names = self._wanted if wanted is None else list(wanted)
        if self._evaluation is None:
            return {name: self._quick(self._outputs[name], first_row, rows) for name in names}
        step = self._rows_at_once
        parts = [
            self._evaluate_rows(self._evaluation, start, min(step, first_row + rows - start), names)
            for start in range(first_row, first_row + rows, step)
        ]
        return _joined(parts, names, axis=1)

    @property
    def userdata(self) -> bytes:
        """The JSON of the ``userdata`` output, once all blocks are rendered."""
        return rasters.userdata(self._feature) if self._evaluation is None else self._evaluation.end().encode()

    @property
    def _pixels_at_once(self) -> int:
        most = max([1, *(read.count(kept) for read, kept in zip(self._reads, self._kept, strict=True))])
        return max(1, SAMPLES_AT_ONCE // most)

    @property
    def _rows_at_once(self) -> int:
        return max(1, min(rasters.ROWS_AT_ONCE, self._pixels_at_once // self._feature.width))

    def _begin(self, reads: list[Read]) -> None:
        if self._evaluation is None:
            return
        plan = {
            "fused": len(self._data) > 1,
            "sources": [read.plan() for read in reads],
            "outputs": [
                {"id": name, "bands": self._setup.outputs[name].bands, "wanted": name in self._wanted}
                for name in self._outputs
            ],
        }
        kept, bands = self._evaluation.begin(plan)
        self._reads, self._kept = reads, kept
        resized = zip(self._outputs.items(), bands, strict=True)
        self._outputs = {name: output.with_bands(number) for (name, output), number in resized}

    def _evaluate_rows(
        self, evaluation: Evaluation, first_row: int, rows: int, names: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        # With many scenes, a whole row would have too many samples.
        each, wide = self._feature, min(self._feature.width, self._pixels_at_once)
        parts = []
        for column in range(0, each.width, wide):
            width = min(wide, each.width - column)
            part = each if width == each.width else replace(each, west=each.west + column * each.step_x, width=width)
            parts.append(self._evaluate(evaluation, Block(part, first_row, rows), names))
        return _joined(parts, names, axis=2)

    def _evaluate(self, evaluation: Evaluation, block: Block, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        arrays = [each for read, kept in zip(self._reads, self._kept, strict=True) for each in read.arrays(kept, block)]
        numbers = {number: name for number, name in enumerate(self._outputs) if name in names}
        wanted = {number: self._outputs[name].bands for number, name in numbers.items()}
        found = evaluation.block(block.rows * block.feature.width, arrays, wanted)
        return {
            name: converted(found[number], self._outputs[name]).reshape(-1, *block.shape)
            for number, name in numbers.items()
        }

    def _quick(self, output: Output, first: int, rows: int) -> NDArray[Any]:
        numbers = range(1, output.bands + 1)
        return np.stack([rasters.pixels(self._feature, band, output.dtype, first, rows) for band in numbers])


def converted(values: NDArray[np.float64], output: Output) -> NDArray[Any]:
    """
    Write what a script returns as numbers of an output's type.

    Whole numbers are rounded to the nearest and clamped; AUTO stretches 0 to 1 to 0 to 255. What is not a number stays
    so in FLOAT32, and is 0 otherwise.

    :param values: What it returns.
    :param output: The output.
    """
    if output.dtype == "float32":
        with np.errstate(over="ignore"):
            return values.astype(np.float32)
    scaled = values * 255 if output.sample_type == "AUTO" else values
    limits = np.iinfo(output.dtype)
    whole = np.floor(np.nan_to_num(scaled, nan=0.0, posinf=limits.max, neginf=limits.min) + 0.5)
    return np.clip(whole, limits.min, limits.max).astype(output.dtype)


def _joined(parts: list[dict[str, NDArray[Any]]], names: Sequence[str], axis: int) -> dict[str, NDArray[Any]]:
    return (
        parts[0] if len(parts) == 1 else {name: np.concatenate([each[name] for each in parts], axis) for name in names}
    )


def _typed(output: Output, sample_type: str) -> Output:
    return replace(output, sample_type=sample_type) if output.sample_type == "AUTO" else output
