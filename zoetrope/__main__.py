"""`zoetrope`, and `python -m zoetrope`: the command line, or one sentence where the installation is damaged."""

import sys

REFUSED = 2


def main() -> None:
    """Imports nothing until it is asked to run: a missing library is then told of, not thrown."""
    try:
        from zoetrope import cli  # noqa: PLC0415 - see above
    except ImportError as error:
        sys.stderr.write(f"✗ The installation in {sys.prefix} is damaged: {error}. Remove it and start again.\n")
        sys.exit(REFUSED)
    cli.main()


if __name__ == "__main__":
    main()
