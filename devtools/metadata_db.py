"""A migrated metadata database, created once and then copied."""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from devtools.state_folder import state_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

DATABASE = "airflow.db"


def _migrate(home: Path, env: Mapping[str, str]) -> Path:
    (home / "airflow.cfg").touch()
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        # The template is created here, whatever database the stack will use.
        env={
            **env,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / DATABASE}",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"airflow db migrate ended with exit code {done.returncode}:\n{done.stdout[-4000:]}")
    database = home / DATABASE
    with closing(sqlite3.connect(database)) as connection:
        # Stored in the file: readers do not wait for the writer, nor the writer for readers.
        connection.execute("PRAGMA journal_mode=WAL")
    return database


def copy_database(home: Path, env: Mapping[str, str]) -> None:
    """
    Put an empty, migrated SQLite database into an Airflow home.

    :param home: The Airflow home.
    :param env: Environment for ``airflow db migrate``, should it be needed.
    """
    cache = state_folder() / "cache"
    cache.mkdir(exist_ok=True)
    template = cache / f"airflow-{version('apache-airflow')}.db"
    with (cache / "lock").open("w") as lock:
        # A second process waits, and then finds the template.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                _migrate(Path(scratch), env).rename(template)
        shutil.copyfile(template, home / DATABASE)
