"""
The commands this provider adds to ``airflow``.

Airflow calls :func:`get_commands` whenever ``airflow`` is run, whatever for, so the work itself is imported when it is
asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

APIS = ("batch-v2", "batch-statistical", "statistical")
DEPLOYMENTS = ("aws-eu-central-1", "aws-us-west-2", "cdse")


def get_commands() -> list[CLICommand]:
    """Return ``airflow sentinelhub`` with its sub-commands."""
    from airflow.cli import cli_config

    # Airflow's own is untyped.
    argument: Any = cli_config.Arg

    validate = cli_config.ActionCommand(
        name="validate",
        help="Check requests before they are sent",
        description="Check Batch Processing V2, Batch Statistical and Statistical requests as the operators do. Needs "
        "no network and no connection. Exits with 1 if there is an error; warnings alone give 0.",
        func=cli_config.lazy_load_command("airflow_provider_sentinelhub.cli.validate.validate"),
        args=(
            argument(("requests",), nargs="+", metavar="REQUEST.json", help="files, one request each"),
            argument(
                ("--deployment",),
                choices=DEPLOYMENTS,
                help="where the requests are going to be sent; more can be checked then",
            ),
            argument(
                ("--api",),
                choices=APIS,
                help="what the requests are for; without it, each is taken for what it looks like",
            ),
            argument(("--json",), action="store_true", help="print one JSON object for each problem"),
        ),
    )
    return [cli_config.GroupCommand(name="sentinelhub", help="Work with Sentinel Hub", subcommands=(validate,))]
