"""``sentinelhub-simulator``: the service on this machine. See ``docs/simulator.md``."""

from __future__ import annotations

import argparse
import logging
import math
import re
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from airflow_provider_sentinelhub.client.errors import SentinelHubError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOG = logging.getLogger(__name__)
MINIMUM_KEY_CHARACTERS = 16
ROLE_ARN = "arn:aws:iam::123456789012:role/sentinelhub-simulator"
NEEDED = ("fastapi", "mgrs", "numcodecs", "numpy", "pyproj", "quickjs", "rasterio", "uvicorn")
"""What the extra ``simulator`` installs, without rclone, which may be the system's and is looked for later."""
_MAX_PORT = 65535
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """
    Read the command line.

    :param given: Words; those of the process when ``None``.
    """
    parser = argparse.ArgumentParser(prog="sentinelhub-simulator", description="Sentinel Hub on this machine.")
    parser.add_argument("--home", type=Path, help="folder of the state; by default a temporary one, removed at exit")
    parser.add_argument("--port", type=_port, default=0, help="port of the API; 0 takes any free one")
    parser.add_argument("--s3-port", type=_port, default=0, help="port of the S3 server; 0 takes any free one")
    parser.add_argument("--speed", type=positive, default=60, help="simulated seconds per real second (default: 60)")
    parser.add_argument("--client-id", type=_text, default="simulator", help="OAuth client id (default: simulator)")
    parser.add_argument("--client-secret", type=_text, default="simulator-secret", help="OAuth client secret")
    parser.add_argument(
        "--access-key-id", type=_key, default="AKIASIMULATOR0000001", help="S3 key, at least 16 characters"
    )
    parser.add_argument("--secret-access-key", type=_text, default="simulator-secret-access-key", help="S3 secret")
    parser.add_argument("--role-arn", default=ROLE_ARN, help="role that may be given in place of the S3 key")
    parser.add_argument("--bucket", type=_bucket, default="sentinelhub", help="bucket to create (default: sentinelhub)")
    parser.add_argument("--script", type=_file, help="JSON file of durations and failures")
    parser.add_argument(
        "--pixels",
        choices=("evalscript", "quick"),
        help="run evalscripts for every pixel, or fill in quick values; as the script says, or evalscript, by default",
    )
    parser.add_argument("--exit-with-stdin", action="store_true", help="exit when standard input ends")
    return parser.parse_args(given)


def positive(text: str) -> float:
    """
    Read a number greater than 0.

    :param text: The argument.
    :raises ArgumentTypeError: It is something else.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number greater than 0")
    return number


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= _MAX_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to {_MAX_PORT}")
    return int(text)


def _text(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def _key(text: str) -> str:
    if len(text) < MINIMUM_KEY_CHARACTERS:
        raise argparse.ArgumentTypeError(f"it must have at least {MINIMUM_KEY_CHARACTERS} characters")
    return text


def _bucket(text: str) -> str:
    if not _BUCKET.fullmatch(text):
        rule = "3 to 63 lower-case letters, digits, dots and hyphens"
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a bucket: {rule}")
    return text


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return Path(text)


def main(given: Sequence[str] | None = None) -> int:
    """
    Run the simulator until a signal stops it.

    :param given: Command line; that of the process when ``None``.
    :returns: Exit status.
    """
    options = arguments(given)
    if missing := [name for name in NEEDED if not _is_installed(name)]:
        sys.stderr.write(
            f"The simulator needs what is not installed: {', '.join(missing)}. All of it comes with the extra "
            "'simulator'. Install it with: pip install 'airflow-provider-sentinelhub[simulator]'\n"
        )
        return 1
    from airflow_provider_sentinelhub.simulator import serve
    from airflow_provider_sentinelhub.simulator.tasks.script import Script

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    serve.on_signal(lambda *_: sys.exit(0))
    try:
        script = Script.model_validate_json(options.script.read_bytes()) if options.script else None
        with tempfile.TemporaryDirectory(prefix="sentinelhub-simulator-") as temporary:
            serve.run(options, options.home or Path(temporary), script)
    except (SentinelHubError, ValidationError, OSError) as error:
        _LOG.error("%s", error)
        return 1
    return 0


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:
        # Blocked in sys.modules.
        return False


if __name__ == "__main__":
    sys.exit(main())
