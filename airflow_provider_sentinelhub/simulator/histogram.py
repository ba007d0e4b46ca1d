"""Histograms of statistics, by exact bins, by their number or by their width."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A quotient this close above a whole number is that number: 0.3 / 0.1 is not three in floating point.
TOLERANCE = 1e-9


def edges(wanted: dict[str, Any], values: NDArray[Any]) -> list[float]:
    """
    Return the edges of the bins.

    :param wanted: ``bins``, or ``nBins`` or ``binWidth`` with or without ``lowEdge`` and ``highEdge``; those are the
        lowest and highest value when absent.
    :param values: The values; may be empty.
    :returns: One more than there are bins; empty when the values would have to say where they are, and there are none.
    """
    if "bins" in wanted:
        return list(wanted["bins"])
    if not ({"lowEdge", "highEdge"} <= set(wanted) or len(values)):
        return []
    low = wanted["lowEdge"] if "lowEdge" in wanted else float(values.min())
    high = wanted["highEdge"] if "highEdge" in wanted else max(low, float(values.max()))
    low = min(low, high)
    if "nBins" in wanted:
        number = int(wanted["nBins"])
        width = (high - low) / number
    else:
        width = wanted["binWidth"]
        number = max(1, math.ceil((high - low) / width - TOLERANCE))
    found = [low + each * width for each in range(number + 1)]
    # What is above an edge that was asked for is in no bin; the highest value always is in one.
    found[-1] = high if "nBins" in wanted or "highEdge" in wanted else max(found[-1], high)
    return found


def histogram(wanted: dict[str, Any], values: NDArray[Any], scale: float) -> dict[str, Any]:
    """
    Count values in bins. A bin has its lower edge and not its upper one, but for the last, which has both.

    :param wanted: See :func:`edges`.
    :param values: The values; may be empty.
    :param scale: How many pixels each stands for.
    """
    limits = edges(wanted, values)
    if len(limits) < 2:  # noqa: PLR2004 - one bin
        return {"bins": [], "overflowCount": 0, "underflowCount": 0}
    wide = np.asarray(limits, np.float64)
    exact = values.astype(np.float64)
    # Where all values are the same there is one point and no width: every bin but the last is empty.
    counts = np.histogram(exact, wide)[0] if wide[-1] > wide[0] else _at_a_point(exact, wide)
    below = int((exact < wide[0]).sum())
    scaled = rounded([below, *counts.tolist(), len(exact) - below - int(counts.sum())], scale)
    bins = [
        {"lowEdge": low, "highEdge": high, "count": count}
        for low, high, count in zip(limits[:-1], limits[1:], scaled[1:-1], strict=True)
    ]
    return {"bins": bins, "overflowCount": scaled[-1], "underflowCount": scaled[0]}


def _at_a_point(values: NDArray[Any], limits: NDArray[Any]) -> NDArray[Any]:
    counts = np.zeros(len(limits) - 1, int)
    counts[-1] = (values == limits[0]).sum()
    return counts


def rounded(counts: list[int], scale: float) -> list[int]:
    """
    Scale counts so that they stay whole and their sum is the rounded sum.

    :param counts: The counts.
    :param scale: By how much.
    """
    sums = [0]
    for each in counts:
        sums.append(sums[-1] + each)
    ends = [round(each * scale) for each in sums]
    return [after - before for before, after in itertools.pairwise(ends)]
