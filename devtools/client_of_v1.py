"""
The last version of sentinelhub-py that speaks Batch Processing V1, in a virtual environment of its own.

Version 3.11.2 removed it, and the other tests need a newer version, so both cannot be in one environment.

Source: https://github.com/sentinel-hub/sentinelhub-py/releases/tag/v3.11.2
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LOCK = REPOSITORY / "requirements" / "sentinelhub-3.11.1.lock"
FOLDER = REPOSITORY / ".venv-sentinelhub-3.11.1"


def ready(folder: Path = FOLDER) -> Path:
    """
    Return the Python of the environment, which is made first if it is missing or older than its lock.

    ``make install`` makes it, so that the tests find it and need no network.

    :param folder: Where it is.
    :raises subprocess.CalledProcessError: It could not be made, e.g. because the package index cannot be reached.
    """
    python, stamp = folder / "bin" / "python", folder / ".installed"
    with LOCK.open("rb") as locked:
        # Several test processes may need it at once.
        fcntl.flock(locked, fcntl.LOCK_EX)
        wanted = hashlib.sha256(locked.read()).hexdigest()
        if not (python.exists() and stamp.is_file() and stamp.read_text() == wanted):
            _make(folder)
            stamp.write_text(wanted)
    return python


def _make(folder: Path) -> None:
    print(f"Installing into {folder.name} from {LOCK.relative_to(REPOSITORY)} ...", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python, locked = str(folder / "bin" / "python"), ("--require-hashes", "-r", str(LOCK))
    uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", python, "--compile-bytecode", *locked]
    # uv is faster; pip takes over where uv cannot reach the package index.
    if subprocess.run(uv, check=False).returncode != 0:
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--disable-pip-version-check", *locked]
        subprocess.run(pip, check=True)


if __name__ == "__main__":
    ready()
