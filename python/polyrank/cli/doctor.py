"""`polyrank doctor`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from polyrank.cli.app import app
from polyrank.cli.options import JsonReport, writable_option

__all__: list[str] = []


@app.command()
def doctor(
    json_file: JsonReport = None,
    self_test: Annotated[
        bool,
        typer.Option(
            "--self-test/--no-self-test", help="Run a program of known results in each world."
        ),
    ] = True,
) -> None:
    """Say whether polyrank works on this machine.

    Versions, cores, memory and limits; what this torch lacks of what polyrank knows; and a small
    program in each world, whose results are known exactly.

    **Exit codes**: 0, or 1 if something is wrong.
    """
    target = None if json_file is None else writable_option(json_file, "--json")
    from polyrank.doctor.diagnose import diagnose
    from polyrank.output.written_whole import write_json

    diagnosis = diagnose(with_self_tests=self_test)
    sys.stdout.write(diagnosis.text())
    if target is not None:
        write_json(target, diagnosis.to_dict())
    raise typer.Exit(diagnosis.exit_code)
