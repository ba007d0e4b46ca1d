"""
The id of this Airflow installation. Tags of remote tasks contain it, because DAGs of several have the same names.

The first task that needs the id creates it and stores it in the key of an Airflow Variable: the metadata database is
what all processes of one installation share, and no other has. In the key, not in the value, because Airflow also
reports a missing Variable when the look-up failed, and a new id would hide tasks that are running.
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

    :raises AirflowRuntimeError: The metadata database cannot be read.
    """
    kept = list(Variable.keys(PREFIX))
    if not kept:
        Variable.set(f"{PREFIX}{uuid.uuid4().hex[:INSTALLATION_CHARS]}", _MEANING)
        # Another task may be creating one at the same moment: then both use the first in order.
        time.sleep(_SETTLED_AFTER_S)
        kept = list(Variable.keys(PREFIX))
    return min(kept).removeprefix(PREFIX)
