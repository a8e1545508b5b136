"""Exchanging what a Python function runs."""

from __future__ import annotations

import inspect
import itertools
import types
import warnings
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any

from polyrank import _C

__all__ = [
    "PythonFunction",
    "code_that_calls",
    "copy_of",
    "is_exchanged",
    "parameters_and_arguments",
]

_TARGET = "polyrank's"  # where the generated code holds what it calls
_MARK = object()  # the last constant of each generated code


class PythonFunction:
    """A Python function, whose code object can be another one.

    The other one has the same parameters, name, file and line, so that `inspect` tells the same, and
    calls ours with all arguments. Ours may call `original`, a function of its own with their code.
    """

    def __init__(self, function: FunctionType) -> None:
        self._function = function
        self._their_code = function.__code__
        self.original = copy_of(function)

    def prepared(self, own: Callable[..., Any]) -> CodeType:
        """What add_ours() takes, so that calls go to `own`; those that run go on as they began."""
        return code_that_calls(own, self._their_code)

    def add_ours(self, switch: _C.NameSwitch, prepared: CodeType) -> None:
        """Let the switch exchange what calls run."""
        switch.add_code(self._function, prepared)

    def add_theirs(self, switch: _C.NameSwitch) -> None:
        """Let the switch have the function run its own code."""
        switch.add_code(self._function, self._their_code)


def is_exchanged(frame: FrameType) -> bool:
    """Whether the frame is of a replaced function: below it ours runs, above it is who called."""
    constants = frame.f_code.co_consts
    return bool(constants) and constants[-1] is _MARK


def copy_of(function: FunctionType) -> FunctionType:
    """Another function that runs the same."""
    copy = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    for name in ("__kwdefaults__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        setattr(copy, name, getattr(function, name))
    vars(copy).update(vars(function))
    return copy


def code_that_calls(own: Callable[..., Any], like: CodeType) -> CodeType:
    """A code object that calls `own`, with the parameters, name and place of another one."""
    parameters, arguments = parameters_and_arguments(like)
    # A code object fits a function only with as many variables of functions around it.
    free = ", ".join(like.co_freevars)
    source = (
        f"def around({free}):\n"
        f" def function({parameters}): return {_TARGET!r}({arguments}); ({free})\n"
        f" return function.__code__"
    )
    namespace: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # the text, which `own` takes the place of
        exec(compile(source, like.co_filename, "exec"), namespace)  # noqa: S102
    code: CodeType = namespace["around"](*like.co_freevars)
    constants = tuple(own if value == _TARGET else value for value in code.co_consts)
    return code.replace(
        co_consts=(*constants, _MARK),
        co_name=like.co_name,
        co_qualname=like.co_qualname,
        co_firstlineno=like.co_firstlineno,
    )


def parameters_and_arguments(code: CodeType) -> tuple[str, str]:
    """The text between the brackets of a definition with the code's parameters, and of a call."""
    names = iter(code.co_varnames)
    positional = list(itertools.islice(names, code.co_argcount))
    keywords = list(itertools.islice(names, code.co_kwonlyargcount))
    parameters, arguments = list(positional), list(positional)
    if code.co_posonlyargcount:
        parameters.insert(code.co_posonlyargcount, "/")
    if code.co_flags & inspect.CO_VARARGS:
        rest = f"*{next(names)}"
        parameters.append(rest)
        arguments.append(rest)
    elif keywords:
        parameters.append("*")
    parameters += keywords
    arguments += [f"{name}={name}" for name in keywords]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        rest = f"**{next(names)}"
        parameters.append(rest)
        arguments.append(rest)
    return ", ".join(parameters), ", ".join(arguments)
