"""
The public client in JavaScript, sentinelhub-js, in a folder of its own: ``python -P -m devtools.client_in_js``.

It needs npm and, the first time, the network. Tests that use it are skipped where it is not installed, so that a
machine without Node can run all others.

Source: https://github.com/sentinel-hub/sentinelhub-js
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LOCK = REPOSITORY / "requirements" / "sentinelhub-js"
FOLDER = REPOSITORY / ".node-sentinelhub-js"
_FILES = ("package.json", "package-lock.json")


def missing() -> str:
    """Return why the client cannot be used; an empty text if it can."""
    if shutil.which("node") is None:
        return "Node is not installed"
    if not _stamp().is_file() or _stamp().read_text(encoding="utf-8") != _wanted():
        return "sentinelhub-js is not installed: run python -P -m devtools.client_in_js"
    return ""


def install() -> None:
    """
    Install the client, if it is missing or older than its lock; no script of any package is run.

    :raises FileNotFoundError: There is no npm.
    :raises subprocess.CalledProcessError: It could not be installed, e.g. because the registry cannot be reached.
    """
    if not missing():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed. It comes with Node: https://nodejs.org/")
    FOLDER.mkdir(exist_ok=True)
    for name in _FILES:
        shutil.copy(LOCK / name, FOLDER / name)
    subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=FOLDER, check=True)
    _stamp().write_text(_wanted(), encoding="utf-8")


def _stamp() -> Path:
    return FOLDER / ".installed"


def _wanted() -> str:
    return hashlib.sha256(b"".join((LOCK / name).read_bytes() for name in _FILES)).hexdigest()


if __name__ == "__main__":
    try:
        install()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
