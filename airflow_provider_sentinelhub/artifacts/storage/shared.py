"""Things that are expensive to open, shared by all threads of a process that open the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


class Shared(Generic[T]):
    """
    Keeps what was used last; the bound is for processes that live long and see many connections.

    :param most: How many it keeps.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, opened: Callable[[], T]) -> T:
        """
        Return what was opened for a key; those who ask at the same moment open it once.

        :param key: The key; must not hold secrets, which would be kept here.
        :param opened: Opens it.
        """
        with self._lock:
            if key not in self._kept:
                self._kept[key] = opened()
                if len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def forget(self, key: Hashable) -> None:
        """
        Open it again for the next caller.

        :param key: The key.
        """
        with self._lock:
            self._kept.pop(key, None)
