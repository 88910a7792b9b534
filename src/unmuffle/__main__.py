"""The command ``unmuffle``, also as ``python -m unmuffle``."""

from __future__ import annotations

import sys


def main() -> None:
    """Load the command line, which takes a moment, and run it; a Ctrl-C ends both in the same way."""
    try:
        from .cli import stopping

        stopping.install()
        from .cli.main import run
    except KeyboardInterrupt:
        sys.stderr.write("unmuffle: interrupted; nothing had begun\n")
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
