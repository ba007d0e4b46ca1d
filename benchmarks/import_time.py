"""
What importing our operators adds to ``airflow.sdk``: CPU milliseconds, medians of fresh interpreters.

Run it with ``python benchmarks/import_time.py``. CPU time is used because wall time depends on who else is busy.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile

ROUNDS = 9
BASE = (
    "from airflow.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator, Param; import airflow.sdk.configuration"
)
MODULES = {
    "operators.batch_process": "import airflow_provider_sentinelhub.operators.batch_process",
    "operators.batch_statistical": "import airflow_provider_sentinelhub.operators.batch_statistical",
    "operators.statistical": "import airflow_provider_sentinelhub.operators.statistical",
    "sensors.batch_process": "import airflow_provider_sentinelhub.sensors.batch_process",
    "one operator by its name": "from airflow_provider_sentinelhub.operators import SentinelHubBatchProcessOperator",
    "the package alone": "import airflow_provider_sentinelhub.operators, airflow_provider_sentinelhub.sensors",
    "get_provider_info": "import airflow_provider_sentinelhub.get_provider_info",
    "amazon operators.batch": "import airflow.providers.amazon.aws.operators.batch",
    "amazon hooks.s3": "import airflow.providers.amazon.aws.hooks.s3",
}
PROGRAM = """
import sys, time
{base}
modules, start = len(sys.modules), time.process_time()
{imports}
print((time.process_time() - start) * 1000, len(sys.modules) - modules)
"""


def measure(imports: str) -> tuple[float, int]:
    """
    Return CPU milliseconds and number of modules that some imports add to the base.

    :param imports: The import statement.
    """
    with tempfile.TemporaryDirectory() as home:
        found = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(base=BASE, imports=imports)],
            env={"AIRFLOW_HOME": home, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
    milliseconds, modules = found.stdout.split()[-2:]
    return float(milliseconds), int(modules)


def main() -> None:
    """Print a table."""
    measure("import airflow_provider_sentinelhub.operators.batch_process, airflow.providers.amazon.aws.operators.batch")
    samples: dict[str, list[float]] = {name: [] for name in MODULES}
    added: dict[str, int] = {}
    for _ in range(ROUNDS):
        for name, imports in MODULES.items():
            milliseconds, added[name] = measure(imports)
            samples[name].append(milliseconds)
    print(f"CPU ms above airflow.sdk, median of {ROUNDS} fresh interpreters (min-max), modules added")
    for name, values in samples.items():
        median = statistics.median(values)
        print(f"{name:26} {median:7.1f}  ({min(values):.1f}-{max(values):.1f})  {added[name]:4d}")


if __name__ == "__main__":
    main()
