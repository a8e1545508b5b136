"""Runs of many parts whose results are kept in a file, so that what is there is not run again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

from polyrank.errors import UsageError

__all__ = ["read_kept", "run_parts"]

Part = TypeVar("Part")
Result = TypeVar("Result")


def read_kept(file: Path, of: str, identity: dict[str, Any], version: int) -> list[dict[str, Any]]:
    """The results that an earlier, perhaps interrupted run left in the file; none if it is not there.

    Args:
        file: a document with `schema_version`, `results`, and the identity under the name `of`.
        of: what the results are of: "sweep".
        identity: what these must be of.
        version: of the document.

    Raises:
        UsageError: it holds something else, or results of another one.
    """
    if not file.is_file() or file.stat().st_size == 0:
        return []
    try:
        document = json.loads(file.read_text())
        kept = [dict(row) for row in document["results"]]
        told, found = document[of], document["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file} holds no results of a {of}: name another file") from error
    if told != identity or found != version:
        raise UsageError(f"{file} holds results of another {of}: remove it, or name another file")
    return kept


def run_parts(
    parts: Iterable[Part],
    run: Callable[[Part], Result],
    finished: Callable[[Result], None],
    *,
    jobs: int,
) -> list[Result]:
    """Run all parts, `jobs` at once; calls `finished` for each result, one at a time.

    After an error what has not begun does not begin.
    """
    results: list[Result] = []
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for done in as_completed([pool.submit(run, part) for part in parts]):
                results.append(done.result())
                finished(results[-1])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results
