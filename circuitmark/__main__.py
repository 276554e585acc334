"""The command `circuitmark`, and `python -m circuitmark`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command."""
    from circuitmark.rooms import take

    try:
        take()
    except ImportError as error:
        print(f"circuitmark: {error}", file=sys.stderr)
        sys.exit(2)
    from bench.terminal import begin, ended_in_a_line

    with ended_in_a_line():
        begin()
        from bench.cli import run_app

        run_app()


if __name__ == "__main__":
    main()
