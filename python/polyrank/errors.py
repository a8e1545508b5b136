"""The errors that polyrank raises: what went wrong, on which ranks, with which values, what to do.

Each derives from the built-in type that describes it and, where PyTorch's simulator raises an
AssertionError in the same place, from that too, so that programs written for it catch ours.

A DivergenceError alone is no Exception. It says that ranks go different ways from here, of which a
run for all of them can take none: an `except Exception` or `except RuntimeError` that took it for
an error of the program's would send all ranks one way, silently.
"""


class Error(BaseException):
    """Base of all errors of polyrank. All except DivergenceError are Exceptions."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the program's own lines, and the message."""
        from polyrank.short_traceback import short_traceback

        return short_traceback(self)


class UsageError(Error, ValueError, AssertionError):
    """A function was called in a way that it does not offer."""


class UnknownOptionError(UsageError, KeyError):
    """A backend was given an option that it does not have."""

    __str__ = Exception.__str__  # a KeyError's would quote the message


class DivisionByZeroError(UsageError, ZeroDivisionError):
    """A rank-dependent number was divided by one that is zero on some rank."""


class UnsupportedOpError(Error, NotImplementedError):
    """An operator, or a use of it, that can't be run on LocalTensors."""


class DivergenceError(Error):
    """Ranks differ where the program needs them to agree. `except Exception` does not catch it."""


class CollectiveError(Error, RuntimeError):
    """A collective that the real backends would refuse too."""


class CollectiveMismatchError(CollectiveError):
    """The ranks of a group launched collectives that do not match."""


class DeadlockError(CollectiveError):
    """No rank can proceed."""


class InternalError(Error, Exception):
    """A fault in polyrank itself; please report it with the program that shows it."""
