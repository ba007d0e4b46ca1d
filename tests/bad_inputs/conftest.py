from __future__ import annotations

import os
import tempfile

# Airflow reads these when it is first imported.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-unit-"))
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "client"
