"""Processing units and megabytes as text: small ones keep three digits, instead of becoming 0."""

from __future__ import annotations

_SMALL = 0.95
_LARGE = 10_000


def pu_text(pu: float | None) -> str:
    """
    Return processing units as text, e.g. ``1,234.5 PU`` or ``0.0134 PU``.

    :param pu: Processing units; ``None`` where the service has not said.
    """
    if not pu:
        return "0 PU"
    if abs(pu) < _SMALL:
        return f"{pu:.3g} PU"
    return f"{pu:,.1f} PU" if abs(pu) < _LARGE else f"{pu:,.0f} PU"


def state_text(status: str, pu: float | None) -> str:
    """
    Return the status of a task and what it has cost, e.g. ``DONE after 12.0 PU``.

    :param status: The status.
    :param pu: Processing units; ``None`` where the service has not said: some APIs never do.
    """
    return status if pu is None else f"{status} after {pu_text(pu)}"


def mb_text(mb: float) -> str:
    """
    Return megabytes as text, e.g. ``1,235 MB`` or ``0.447 MB``.

    :param mb: Megabytes.
    """
    return f"{mb:,.0f} MB" if mb >= 100 else f"{mb:.3g} MB"  # noqa: PLR2004 - three digits
