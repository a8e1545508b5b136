"""`polyrank report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from polyrank.cli.app import app
from polyrank.cli.options import HtmlReport, page_option

__all__: list[str] = []


@app.command()
def report(
    trace: Annotated[
        Path,
        typer.Argument(
            help="A file of `polyrank run --trace`, or of Trace.to_json.", metavar="TRACE"
        ),
    ],
    html_file: HtmlReport = None,
) -> None:
    """Show a recorded run, as a table or a page with pictures.

    - `polyrank run --ranks 8 --trace trace.json train.py`, later
      `polyrank report trace.json --html report.html`
    """
    from polyrank.errors import UsageError

    target = None if html_file is None else page_option(html_file)
    from polyrank.run_report.recorded import read_trace

    try:
        recorded = read_trace(trace)
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="TRACE") from error
    if target is None:
        from polyrank.run_report.table import table_text

        sys.stdout.write(table_text(recorded.launches))
        return
    from polyrank.output.written_whole import write_text
    from polyrank.run_report.page import run_page

    write_text(target, run_page(recorded))
