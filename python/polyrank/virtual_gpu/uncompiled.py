"""`torch.compile` on virtual GPUs: kernels for a GPU can't run, so what inductor is given runs as it is.

On GPUs without bytes nothing is traced at all, as by `torch.compiler.set_stance("force_eager")`: a graph
would have no modules any more, whose memory and time a forecast tells.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils import _pytree as pytree

from polyrank import _C
from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS", "WITHOUT_BYTES"]


def _compile_fx(
    original: Callable[..., Any], model_: Any, example_inputs_: Any, *args: Any, **kwargs: Any
) -> Any:
    """Give graphs that touch a GPU back uncompiled, and say so once."""
    if not any(value.is_cuda for value in _tensors(model_, example_inputs_)):
        return original(model_, example_inputs_, *args, **kwargs)
    _tell()
    return model_


def _compile(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not _C.virtual_gpus().has_bytes:
        _tell()
    return original(*args, **kwargs)


def _eager(stance: Any) -> Any:
    return dataclasses.replace(stance, stance="force_eager")


def _tensors(graph_module: Any, inputs: Any) -> Iterator[torch.Tensor]:
    """What goes into a graph, and the values that its nodes stood for when it was traced."""
    graph = getattr(graph_module, "graph", None)
    nodes = () if graph is None else graph.nodes
    values = [node.meta.get("example_value", node.meta.get("val")) for node in nodes]
    for value in pytree.tree_leaves([inputs, values]):
        if isinstance(value, torch.Tensor):
            yield value


@functools.cache
def _tell() -> None:
    warnings.warn(
        "torch.compile: what runs on virtual GPUs runs uncompiled, with the same values; kernels that a "
        "compiler makes for a GPU can't run here",
        stacklevel=2,
    )


ROWS = (
    Row("torch", "compile", with_original(_compile), "says nothing of running uncompiled"),
    Row(
        "torch._inductor.compile_fx",
        "compile_fx",
        with_original(_compile_fx),
        "makes kernels for a GPU, which a virtual one can't run",
    ),
)

# With bytes, what runs on the CPU is compiled as ever.
WITHOUT_BYTES = (
    Row(
        "torch._dynamo.eval_frame",
        "_stance",
        _eager,
        "traces modules away, of which forecasts tell memory and time",
        is_attribute=True,
    ),
)
