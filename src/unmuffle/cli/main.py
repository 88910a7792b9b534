"""The command line as a whole: which commands there are, and what happens when one fails."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..errors import UnmuffleError
from . import (
    analyze,
    bench,
    common,
    data,
    degrade,
    demo,
    doctor,
    enhance,
    evaluate,
    export,
    finetune,
    info,
    live,
    locate,
    methods,
    qa,
    serve,
    simulate_room,
    stopping,
    train,
)

app = typer.Typer(
    name="unmuffle",
    help="Clear speech out of damaged recordings: noise, rooms, clipping, bad microphones.",
    epilog="Exit codes: 0 done, 1 some of several files failed, 2 wrong usage, 3 unusable input, "
    "4 output cannot be written, 5 optional package missing, 6 broken model file, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = (
    enhance,
    demo,
    methods,
    info,
    analyze,
    evaluate,
    qa,
    locate,
    degrade,
    simulate_room,
    data,
    train,
    finetune,
    export,
    live,
    serve,
    bench,
    doctor,
)
"""In the order in which ``--help`` lists them."""

for module in COMMANDS:
    module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"unmuffle {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def run() -> None:
    """Entry point: errors become one line on standard error and a documented exit code."""
    as_json = "--json" in sys.argv[1:]
    # `kill` and service managers end politely too: what is unfinished is removed on the way out.
    stopping.install()
    try:
        code = app(standalone_mode=False)
        if code == 130:  # how the command-line library answers Ctrl-C
            code = _interrupted(as_json)
    except UnmuffleError as error:
        code = common.exit_code(error)
        _report(str(error), type(error).__name__, code, as_json)
    except (KeyboardInterrupt, EOFError):
        code = _interrupted(as_json)
    except OSError as error:
        # What the readers and writers did not translate: a full disk under a JSON file, a closed pipe.
        code = 4
        _report(f"{error.filename or 'output'}: {error.strerror or error}", "OutputError", code, as_json)
    except Exception as error:
        code = _usage(error, as_json)
    try:
        sys.stdout.flush()
    except OSError:
        sys.stderr.close()  # the reader of the pipe has gone; there is nobody left to tell
        code = code or 4
    raise SystemExit(code if isinstance(code, int) else 0)


def _usage(error: Exception, as_json: bool) -> int:
    """Errors of the command-line library itself: wrong usage, or an orderly exit."""
    if type(error).__name__ == "Abort":
        return _interrupted(as_json)
    if hasattr(error, "exit_code") and hasattr(error, "format_message"):
        if as_json:
            _report(error.format_message(), "UsageError", 2, True)
        else:
            error.show()  # type: ignore[attr-defined]
        return 2
    if hasattr(error, "exit_code"):
        return int(error.exit_code)
    raise error


def _interrupted(as_json: bool) -> int:
    _report("interrupted; nothing unfinished was left behind", "Interrupted", 130, as_json)
    return 130


def _report(message: str, kind: str, code: int, as_json: bool) -> None:
    line = " ".join(message.split())
    if as_json:
        common.emit_json({"error": line, "kind": kind, "exit_code": code})
    else:
        sys.stderr.write(f"unmuffle: {line}\n")


if __name__ == "__main__":
    run()
