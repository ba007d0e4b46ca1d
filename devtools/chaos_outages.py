"""Somebody is out of order for longer than any retry: the token endpoint, the API, or the bucket."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.simulator.process import Simulator
    from devtools.chaos_gate import Call, Manner
    from devtools.chaos_stack import Lane

_TOKEN_PATH = re.compile(r"/token$")
LASTS_S, LONGER_S = 200.0, 300.0


class Place(StrEnum):
    """Who is out of order."""

    TOKENS = "token endpoint"
    API = "API"
    BUCKET = "bucket"


@dataclass(frozen=True, slots=True)
class Outage:
    """
    Who is out of order, and how.

    :param place: Who.
    :param manner: How.
    :param seconds: For how long.
    """

    place: Place
    manner: Manner
    seconds: float = LASTS_S

    def __str__(self) -> str:
        return f"the {self.place} {self.manner} for {self.seconds:.0f} s"

    @contextmanager
    def over(self, lane: Lane, sim: Simulator) -> Iterator[None]:
        """
        Put it out of order for one lane, until the end of the ``with`` block.

        :param lane: The lane.
        :param sim: The service.
        """
        gate = lane.bucket if self.place is Place.BUCKET else lane.service
        gate.break_down(self._concerns, self.manner)
        if self.place is Place.TOKENS:
            # Every process has one that is good for an hour.
            sim.revoke_tokens()
        try:
            yield
        finally:
            gate.mend()

    def _concerns(self, call: Call) -> bool:
        if self.place is Place.BUCKET:
            return True
        return (_TOKEN_PATH.search(call.path) is not None) is (self.place is Place.TOKENS)
