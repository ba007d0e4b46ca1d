"""
Arrow's memory while statistics are read: taken from the system's allocator, and given back after each step.

Arrow's own allocator keeps what was freed for later: several times what is in use here, and more the longer it runs.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def memory_of_system() -> Iterator[None]:
    """
    Let Arrow use the system's allocator in the block.

    This holds for all threads of the process, because a Parquet file cannot be read with an allocator of its own. What
    was allocated before stays valid, and so does all of it where two blocks end in another order than they began.
    """
    import pyarrow as pa

    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def give_back() -> None:
    """Give back to the system what was freed: else pieces remain between what is in use, and more with each step."""
    import pyarrow as pa

    pa.system_memory_pool().release_unused()
