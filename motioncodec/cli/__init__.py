"""The command line: parse, call, report.

Exit statuses: 0 done; 1 something failed, the others were still done; 2 a request that cannot be
meant; 130 interrupted. Results go to standard output, everything else to standard error. What a
command needs is imported inside it, so that ``info`` starts without torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

import motioncodec
from motioncodec.cli.conversion import decode, encode, trim
from motioncodec.cli.inspection import compare, formats, info, test
from motioncodec.cli.models import evaluate, models, train
from motioncodec.cli.reporting import PROGRAM, Silent, explain, is_expected, one_line
from motioncodec.cli.viewing import view
from motioncodec.errors import UsageError

__all__ = ["main"]


class Program(click.Group):
    """The group of commands; what goes wrong becomes one line and an exit status."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs a command; ends the process with its status unless ``standalone_mode`` is off."""
        try:
            status = super().main(
                args, prog_name or PROGRAM, complete_var, standalone_mode=False, **extra
            )
            sys.stdout.flush()
        except click.ClickException as error:
            # Click before 8.2 has no such class, and shows the help by itself.
            if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
                error.show()
            else:
                _fail(_usage(error), error.exit_code)
            status = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            status = _fail("interrupted", 130)
        except BrokenPipeError:
            _silence_stdout()
            status = 1
        except Exception as error:
            if not is_expected(error):
                raise
            status = _fail(explain(error), 2 if isinstance(error, UsageError) else 1)
        if standalone_mode:
            sys.exit(status)
        return status


def _fail(message: str, status: int) -> int:
    click.echo(f"{PROGRAM}: {message}", err=True)
    return status


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    where = context.command_path if context else PROGRAM
    return f"{one_line(error.format_message()).rstrip('.')}; see {where} --help"


def _silence_stdout() -> None:
    """Whoever read standard output has gone; the flush at exit must not complain about it."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = Silent()


@click.group(PROGRAM, cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(motioncodec.__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def main() -> None:
    """Human motion to small .mtok files and back: keypoints, heatmaps or tokens.

    A single - stands for standard input or output. Existing files are only replaced with -f.
    """


for _command in (encode, decode, trim, info, test, compare, view, formats, models, train, evaluate):
    main.add_command(_command)
