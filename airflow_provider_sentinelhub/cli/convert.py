"""
``airflow sentinelhub convert``: a request of Batch Processing V1 as one of Batch Processing V2.

The V2 request is printed even if there are errors in it, so that it can be corrected.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.cli.validate import problem_of, problems_of, read
from airflow_provider_sentinelhub.client.apis.batch_v1.convert import rewritten
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.requests.findings import each_of

if TYPE_CHECKING:
    import argparse


def convert(args: argparse.Namespace) -> None:
    """
    Print a V1 request as one of V2, and what is to be known about it; exit with 1 if there is an error.

    :param args: ``request``, ``output`` and ``region``.
    """
    name = args.request
    try:
        conversion = rewritten(read(name), region=args.region)
        _write(f"{json.dumps(conversion.request, indent=2, ensure_ascii=False)}\n", args.output)
    except InvalidParameter as e:
        problems = [problem_of(name, each) for each in each_of(e)]
    else:
        for note in conversion.notes:
            sys.stderr.write(f"{name}: note: {note}\n")
        problems = list(problems_of(name, conversion.request))
    for problem in problems:
        sys.stderr.write(f"{problem.text()}\n")
    sys.stderr.flush()
    sys.exit(1 if any(problem.level == "error" for problem in problems) else 0)


def _write(text: str, output: str | None) -> None:
    if not output:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as e:
        raise InvalidParameter("output", output, f"cannot be written ({e})", "Give the path of a file.") from None
