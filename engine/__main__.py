"""``python -m engine``, and the command ``engine``: what comes before the command line is there.

Importing it takes a moment, on a busy machine seconds, in which a person may think better of it.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the process ends with one of ``ExitCode``."""
    try:
        from engine.console.cli import main as command_line  # noqa: PLC0415 (nothing before it may be interrupted)
    except KeyboardInterrupt:
        print("stopped by SIGINT before anything was begun", file=sys.stderr)  # noqa: T201 (nothing else is there yet)
        sys.exit(130)
    command_line()


if __name__ == "__main__":
    main()
