"""`python -m streampose`, and the `streampose` script: the command, which can be cut off from the beginning."""

import sys

from streampose.interrupt import cut_off_at_once, end_as_first_process, keep_hang_ups

__all__ = ["main"]


def main() -> None:
    """Run the command."""
    end_as_first_process()
    keep_hang_ups(sys.argv[1:])
    try:
        with cut_off_at_once():
            from streampose.cli.main import main as command  # noqa: PLC0415 - it takes a second

        command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
