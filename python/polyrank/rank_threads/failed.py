"""What ranks raised, as one error."""

from __future__ import annotations

from collections.abc import Sequence

from polyrank.errors import Error

__all__ = ["RanksFailedError"]


class RanksFailedError(ExceptionGroup[Exception], Error):
    """What ranks raised, the cause first; each error has a note that names its rank."""

    def derive(self, excs: Sequence[Exception], /) -> RanksFailedError:  # type: ignore[override]
        """As ExceptionGroup's."""
        return RanksFailedError(self.message, excs)
