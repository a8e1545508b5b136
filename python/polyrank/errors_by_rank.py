"""What a Python function raises for some ranks: NOTE [Errors on some ranks] in engine/cohort_errors.h."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import NoReturn

from polyrank import _C
from polyrank.errors import DivergenceError, Error

__all__ = ["ErrorsByRank"]


def _text(ranks: list[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {_C.RankSet(sorted(ranks))}"


class ErrorsByRank:
    """Calls of one function for all ranks, one after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._errors: list[tuple[list[int], Exception]] = []
        self._others: list[int] = []

    @contextlib.contextmanager
    def of(self, ranks: Iterable[int]) -> Iterator[None]:
        """A block in which the function is called for ranks; keeps what it raises."""
        try:
            yield
        except Error:
            raise
        except Exception as error:  # noqa: BLE001 - rethrow() raises it
            self._errors.append((list(ranks), error))
        else:
            self._others.extend(ranks)

    def rethrow(self) -> None:
        """Raise what the first rank's call did if all have raised one type of error.

        Raises:
            DivergenceError: ranks part: some calls have raised, or errors of several types.
        """
        if not self._errors:
            return
        _, first = self._errors[0]
        if not self._others and all(type(error) is type(first) for _, error in self._errors):
            raise first
        self._diverge()

    def _diverge(self) -> NoReturn:
        ranks, first = self._errors[0]
        raising = [rank for of_call, _ in self._errors for rank in of_call]
        where = f", and none on {_text(self._others)}" if self._others else ", of several types"
        raise DivergenceError(
            f"{self._name} raises an error on {_text(raising)}{where}. On rank {ranks[0]}: "
            f"{type(first).__name__}: {first}\nThe lockstep world runs one program for all ranks, which "
            "can't both go on and handle an error. Give all ranks what the function takes, or run the "
            "program with `polyrank run --world threads` (the threads world), where each rank runs its "
            "own program."
        ) from first
