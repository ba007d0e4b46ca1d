"""The folder for files of these programs."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent


@cache
def state_folder() -> Path:
    """Return ``.demo`` in the repository, or where that cannot be written a new temporary folder."""
    folder = _REPOSITORY / ".demo"
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        # Not a fixed name in a world-writable folder.
        return Path(tempfile.mkdtemp(prefix="sentinelhub-demo-"))
