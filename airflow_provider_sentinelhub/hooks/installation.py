"""
Which Airflow this is: the tag of a remote task says so, for DAGs, runs and tasks have the same names in many.

The id is made by the first task that needs one and kept in the key of an Airflow Variable, in the metadata database:
that is what all processes of an installation share, and no other installation has. In the key and not in the value,
because Airflow answers that there is no such Variable also where it could not look, and one that was made anew would
hide what runs.
"""

from __future__ import annotations

import time
import uuid

from airflow.sdk import Variable

from airflow_provider_sentinelhub.client.lifecycle.intent import INSTALLATION_CHARS

PREFIX = "sentinelhub_installation:"

_MEANING = (
    "Its key tells the Sentinel Hub tasks of this Airflow from those of others on the same account. Delete it only in "
    "a copy of a metadata database, before that copy's scheduler is started for the first time."
)
_SETTLED_AFTER_S = 2.0


def installation_id() -> str:
    """
    Return the id of this Airflow installation: 8 hexadecimal digits.

    :raises AirflowRuntimeError: The metadata database cannot be asked.
    """
    kept = list(Variable.keys(PREFIX))
    if not kept:
        Variable.set(f"{PREFIX}{uuid.uuid4().hex[:INSTALLATION_CHARS]}", _MEANING)
        # Another task may be making one at this very moment: then the first in order is that of both.
        time.sleep(_SETTLED_AFTER_S)
        kept = list(Variable.keys(PREFIX))
    return min(kept).removeprefix(PREFIX)
