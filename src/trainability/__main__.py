"""The command, also as `python -m trainability`, which is how `torchrun` starts it. Imports nothing before Ctrl-C is minded."""

import sys


def main() -> None:
    """Import the command line and run it; Ctrl-C meanwhile is one line."""
    try:
        from trainability.cli import program
    except KeyboardInterrupt:
        print("trainability: interrupted", file=sys.stderr)
        sys.exit(130)
    program.main()


if __name__ == "__main__":
    main()
