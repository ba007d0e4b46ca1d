"""
The commands this provider adds to ``airflow``.

Airflow calls :func:`get_commands` for every ``airflow`` command, so the commands themselves are imported only when they
run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

APIS = ("batch-v2", "batch-statistical", "batch-v1", "statistical", "process", "async-process")
DEPLOYMENTS = ("aws-eu-central-1", "aws-us-west-2", "cdse")


def get_commands() -> list[CLICommand]:
    """Return ``airflow sentinelhub`` with its sub-commands."""
    from airflow.cli import cli_config

    # Airflow's class is untyped.
    argument: Any = cli_config.Arg

    validate = cli_config.ActionCommand(
        name="validate",
        help="Check requests before they are sent",
        description="Check requests of Batch Processing, Batch Statistical, Statistical, Process and Async Process as "
        "the operators do. Needs no network and no connection. Exits with 1 if there is an error; warnings alone give "
        "0.",
        func=cli_config.lazy_load_command("airflow_provider_sentinelhub.cli.validate.validate"),
        args=(
            argument(
                ("requests",), nargs="+", metavar="REQUEST.json", help="files, one request each; - for standard input"
            ),
            argument(
                ("--deployment",),
                choices=DEPLOYMENTS,
                help="where the requests will be sent, for further checks",
            ),
            argument(
                ("--api",),
                choices=APIS,
                help="the API of the requests; by default it is recognised from each request",
            ),
            argument(("--json",), action="store_true", help="print one JSON object for each problem"),
        ),
    )
    convert = cli_config.ActionCommand(
        name="convert",
        help="Convert a request of Batch Processing V1 to V2",
        description="Print a request of Batch Processing V1 as one of Batch Processing V2, and on standard error what "
        "changes, what has no equal, and the problems in the result. Needs no network and no connection. Exits with 1 "
        "if there is an error; notes and warnings alone give 0.",
        func=cli_config.lazy_load_command("airflow_provider_sentinelhub.cli.convert.convert"),
        args=(
            argument(("request",), metavar="REQUEST.json", help="file of the V1 request, or - for standard input"),
            argument(("--output",), metavar="FILE", help="write the V2 request to a file"),
            argument(("--region",), help="region of the bucket, by default that of the deployment"),
        ),
    )
    subcommands = (validate, convert)
    return [cli_config.GroupCommand(name="sentinelhub", help="Work with Sentinel Hub", subcommands=subcommands)]
