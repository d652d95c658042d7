"""The command `seq2seq`: imports and runs the given subcommand, and returns its exit code.

This module imports nothing heavy, so that `seq2seq --help` and `--version` do not import torch; therefore the one-line
help of each command is in commands.py, not in its module.

A command is a module `seq2seq.cli.NAME` (dashes become underscores) with two functions: `add_arguments(parser)` and
`run(arguments) -> exit code`. Only `train` differs: Hydra parses its arguments.
"""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from types import ModuleType

from seq2seq import __version__
from seq2seq.cli.commands import COMMANDS, EXAMPLES
from seq2seq.cli.exit_codes import BROKEN_PIPE, CODES, INTERRUPTED, STOPPED, USER_ERROR
from seq2seq.errors import FULL, Stopped, UserError
from seq2seq.runtime.home import settle

TRAINING = ("tune", "reproduce", "demo")  # commands that train, but not distributed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return its exit code.

    A user's mistake (a `UserError`, or a file that cannot be read or written) is one line on stderr and code 2, Ctrl-C
    is 130, a training that SIGTERM or SIGUSR1 ended is 75, a closed pipe is 141; a traceback means a bug in this
    project.
    """
    _escape_unencodable()
    try:
        code = _run(sys.argv[1:] if argv is None else list(argv))
        _flush()
        return code
    except UserError as error:
        _leave_stdout()
        print(f"seq2seq: error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("seq2seq: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Stopped as stop:
        print(f"seq2seq: {stop}", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        _leave_stdout()
        return BROKEN_PIPE
    except OSError as error:
        if error.filename is None and error.errno not in FULL:
            raise
        _leave_stdout()
        print(f"seq2seq: error: {error.filename or 'an output'}: {error.strerror}", file=sys.stderr)
        return USER_ERROR


def _escape_unencodable() -> None:
    """Let stdout escape characters that its encoding lacks, as stderr does, instead of raising."""
    if isinstance(out := sys.stdout, TextIOWrapper) and (out.encoding.lower() != "utf-8" or out.errors == "strict"):
        with suppress(OSError):  # a file when Python started, a pipe by now: it cannot tell where it stands
            out.reconfigure(errors="backslashreplace")


def _flush() -> None:
    if sys.stdout is not None:  # None if the parent process closed it
        sys.stdout.flush()


def _leave_stdout() -> None:
    """Discard what stdout cannot write, or Python reports it again at exit (docs of `signal`, "SIGPIPE")."""
    try:
        _flush()
    except OSError:
        with suppress(OSError):  # in tests, stdout has no descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: list[str]) -> int:
    name = argv[0] if argv and not argv[0].startswith("-") else None
    if name is not None and name not in COMMANDS:
        raise UserError(_unknown(name))
    if name is not None:
        settle()
    if name == "train":
        from seq2seq.cli import completion

        if completion.is_query(argv[1:]):
            return completion.run(argv[1:])
        from seq2seq.cli import train

        return train.run(argv[1:])
    if name in TRAINING:
        from seq2seq.runtime.distributed import check_alone

        check_alone(name)
    module = import_module(f"seq2seq.cli.{name.replace('-', '_')}") if name else None
    try:
        parser = _parser(name, module)
        arguments, rest = parser.parse_known_args(argv or ["--help"])
        if "overrides" in arguments and not any(text.startswith("-") for text in rest):
            arguments.overrides += rest  # argparse ends a list of positionals at the first option after it
        elif rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
    except SystemExit as stop:  # argparse exits after --help, --version and errors
        return stop.code if isinstance(stop.code, int) else 0
    assert module is not None  # without a command, argparse has exited above
    code: int = module.run(arguments)
    return code


def _parser(name: str | None, module: ModuleType | None) -> ArgumentParser:
    parser = ArgumentParser(
        "seq2seq", description="Sequence-to-sequence translation with recurrent networks.", epilog=CODES
    )
    parser.add_argument("--version", action="version", version=f"seq2seq {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for each, summary in COMMANDS.items():
        description, example = f"{summary[0].upper()}{summary[1:]}.", f"For example: {EXAMPLES[each]}"
        subparser = commands.add_parser(each, help=summary, description=description, epilog=example)
        if each == name and module is not None:
            module.add_arguments(subparser)
    return parser


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    return f"no command {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(COMMANDS)}")


if __name__ == "__main__":
    sys.exit(main())
