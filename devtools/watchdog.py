"""
Kills the sessions of a guard that has died.

``python -m devtools.watchdog`` reads lines from stdin: ``+ID`` for a session that was started, ``-ID`` for one that
has ended. The other end of the pipe is held by :class:`devtools.processes.Guard` alone, so the end of the input means
that the guard has closed, or that its process has died.
"""

from __future__ import annotations

import sys

from devtools.processes import end_sessions


def main() -> None:
    """Read until the pipe closes, then kill."""
    sessions: set[int] = set()
    for line in sys.stdin:
        session = int(line[1:])
        if line.startswith("+"):
            sessions.add(session)
        else:
            sessions.discard(session)
    end_sessions(sessions)


if __name__ == "__main__":
    main()
