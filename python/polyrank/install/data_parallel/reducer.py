"""The reducer of DistributedDataParallel, for all ranks at once."""

from __future__ import annotations

import functools
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import _compute_bucket_assignment_by_size
from torch.autograd.graph import Node, get_gradient_edge

from polyrank.errors import UnsupportedOpError
from polyrank.install.data_parallel.gradient_buckets import Bucket, GradBucket

_MEBIBYTE = 1 << 20

Hook = Callable[[Any, GradBucket], Any]


class Reducer:
    """Adds up gradients bucket by bucket while the backward pass makes them.

    PyTorch's is C++ that reads tensors by data pointer, of which a LocalTensor has none. This one
    calls operators, in the order in which PyTorch's does, so that each rank's gradients get the
    same arithmetic. One autograd graph serves all ranks, so what is unused is unused on all.

    Source: `torch::distributed::c10d::Reducer` (reducer.cpp) of torch 2.13.0, whose Python methods
    it has, and 2.15's.
    """

    def __init__(
        self,
        params: list[torch.Tensor],
        bucket_indices: list[list[int]],
        per_bucket_size_limits: list[int],
        process_group: dist.ProcessGroup,
        expect_sparse_gradients: Sequence[bool] = (),
        bucket_bytes_cap: int = 25 * _MEBIBYTE,
        find_unused_parameters: bool = False,
        gradient_as_bucket_view: bool = False,
        param_to_name_mapping: dict[int, str] | None = None,
        first_bucket_bytes_cap: int = _MEBIBYTE,
        skip_all_reduce_unused_params: bool = False,
        use_python_reducer: bool = False,
        bucket_bytes_cap_list: Sequence[int] = (),
        batched_grad_copy: bool = False,
        lazy_bucket_allocation: bool = False,  # when memory is taken: no value depends on it
    ) -> None:
        if any(expect_sparse_gradients):
            raise UnsupportedOpError(
                "DistributedDataParallel does not reduce sparse gradients in lockstep: make the "
                "embedding with sparse=False, reduce its gradient by dist.all_reduce, or run the "
                "program in the processes world"
            )
        self._params = params
        self._names = param_to_name_mapping or {}
        self._group = process_group
        self._size_limits = list(bucket_bytes_cap_list) or [
            first_bucket_bytes_cap,
            bucket_bytes_cap,
        ]
        self._find_unused = find_unused_parameters
        self._grads_are_views = gradient_as_bucket_view
        self._skips_unused = skip_all_reduce_unused_params
        self._divides_whole_buckets = batched_grad_copy
        self._hook: tuple[Hook, Any] | None = None
        self._optimizes_in_backward = False
        self._futures: list[Any] = []
        self._static_graph = False
        self._num_hooks: Counter[int] = Counter()  # static graph: by parameter, first iteration
        self._has_rebuilt = False
        self._arrived: list[int] = []  # parameters in the order in which their gradients came
        self._used: set[int] = set()
        self._unused: list[int] = []
        self.num_iterations = 0  # forward passes, of which several may come before one backward
        self._num_backwards = 0
        self._is_in_backward = False
        self._forward_work: tuple[Any, bool] | None = None
        self._make_buckets(bucket_indices)
        self._start_iteration(expects_hooks=False)
        self._handles = self._register_hooks()

    # --- Parameters and buckets -------------------------------------------------------------------

    def _register_hooks(self) -> list[Any]:
        # A hook that held this object would keep it alive: parameter -> hook -> reducer -> parameter.
        own = weakref.ref(self)

        def hook(index: int, *_: Any) -> None:
            reducer = own()
            if reducer is not None:
                reducer._autograd_hook(index)

        # Autograd makes these nodes anew when nobody holds them, then without the hook.
        self._accumulators: list[Node] = [get_gradient_edge(param).node for param in self._params]
        return [
            node.register_hook(functools.partial(hook, index))
            for index, node in enumerate(self._accumulators)
        ]

    def _make_buckets(self, indices_of_buckets: list[list[int]]) -> None:
        self.buckets = [
            Bucket(i, indices, [self._params[index] for index in indices])
            for i, indices in enumerate(indices_of_buckets)
        ]
        self._position = {
            index: (bucket, position)
            for bucket in self.buckets
            for position, index in enumerate(bucket.indices)
        }
        if self._grads_are_views:
            with torch.no_grad():
                for param, view in self._params_and_views():
                    if param.grad is not None:
                        view.copy_(param.grad)
                        param.grad = view

    def _params_and_views(self) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        for bucket in self.buckets:
            yield from zip(bucket.parameters, bucket.views, strict=True)

    @property
    def _may_rebuild(self) -> bool:
        return (self._static_graph or not self._find_unused) and not self._has_rebuilt

    def _rebuild_buckets(self) -> bool:
        """Group the parameters anew, in the order in which their gradients came; once."""
        self._check_reducer_finalized()
        if not self._may_rebuild or not self._arrived:
            return False
        params = [self._params[index] for index in self._arrived]
        buckets, _ = _compute_bucket_assignment_by_size(
            params, self._size_limits, [False] * len(params), self._arrived
        )
        self._has_rebuilt = True
        self._arrived = []
        self._make_buckets(buckets)
        return True

    def _push_all_rebuilt_params(self) -> None:
        if self._may_rebuild:
            self._arrived = list(range(len(self._params)))

    # --- An iteration -----------------------------------------------------------------------------

    def prepare_for_forward(self) -> None:
        """Count an iteration."""
        self.num_iterations += 1

    def prepare_for_backward(self, output: list[torch.Tensor]) -> None:
        """Expect gradients; parameters that `output` does not lead to count as unused."""
        self._check_reducer_finalized()
        self._start_iteration(expects_hooks=True)
        if self._static_graph:
            self._unused = [i for i in range(len(self._params)) if self._num_hooks[i] == 0]
        elif self._finds_unused:
            reached = _parameters_behind(output)
            self._unused = [i for i, param in enumerate(self._params) if id(param) not in reached]

    def _start_iteration(self, *, expects_hooks: bool) -> None:
        self._expects_hooks = expects_hooks
        self._must_finalize = False
        self._unused = []
        self._pending = {bucket.index: len(bucket.parameters) for bucket in self.buckets}
        self._pending_hooks = self._num_hooks.copy()
        self._ready: set[int] = set()
        self._next_bucket = 0
        self._results: dict[int, Callable[[], torch.Tensor]] = {}
        self._divisor = 0

    @property
    def _finds_unused(self) -> bool:
        return self._find_unused and not self._static_graph

    @property
    def _counts_hooks(self) -> bool:
        return self._static_graph and self._num_backwards == 1

    def _autograd_hook(self, index: int) -> None:
        """Called when autograd has accumulated into the gradient of a parameter."""
        if not self._is_in_backward:
            self._is_in_backward = True
            self._num_backwards += 1
        if (self._finds_unused or self._counts_hooks) and self._params[index].grad is not None:
            self._used.add(index)
        if self._counts_hooks:
            self._num_hooks[index] += 1
            return
        if not self._expects_hooks:
            return
        unused, self._unused = self._unused, []
        for other in unused:
            self._mark_ready(other)
        if self._static_graph:
            if self._pending_hooks[index] == 0:
                raise RuntimeError(
                    f"{self._name(index)} got more gradients than in the first backward pass, and "
                    "static_graph=True says that all passes are alike: leave it off"
                )
            self._pending_hooks[index] -= 1
            if self._pending_hooks[index] > 0:
                return
        self._mark_ready(index)

    def _mark_ready(self, index: int) -> None:
        if index in self._ready:
            raise RuntimeError(
                f"Expected to mark a variable ready only once: {self._name(index)} got a gradient "
                "again in one backward pass. Parameters shared by several forward passes or by "
                "checkpointed blocks do that; static_graph=True allows for it."
            )
        self._ready.add(index)
        self._must_finalize = True
        if self._may_rebuild and index not in self._arrived:
            self._arrived.append(index)
        bucket, _ = self._position[index]
        self._copy_to_bucket(index)
        self._pending[bucket.index] -= 1
        while (
            self._next_bucket < len(self.buckets) and self._pending[self._next_bucket] == 0
        ):  # in order, so that all ranks launch alike
            self._launch(self.buckets[self._next_bucket])
            self._next_bucket += 1
            if self._next_bucket == len(self.buckets):
                if self._finds_unused:
                    self._launch_used_map()
                torch.autograd.Variable._execution_engine.queue_callback(self._finalize)

    def _set_manual_finalization_required(self, required: bool) -> None:
        if required:
            raise UnsupportedOpError(
                "DistributedDataParallel's require_manual_backward_finalization is not there in lockstep: leave "
                "it off, or run the program in the threads or processes world"
            )

    def _delay_all_reduce(self) -> None:
        """Reduce everything at the end of the first backward pass of a static graph."""
        self._launch_used_map()
        self._must_finalize = True
        for index in range(len(self._params)):
            self._copy_to_bucket(index)
        for bucket in self.buckets:
            self._launch(bucket)
        self._finalize()

    # --- From gradients to buckets ----------------------------------------------------------------

    def _copy_to_bucket(self, index: int) -> None:
        bucket, position = self._position[index]
        param, view = self._params[index], bucket.views[position]
        divides = self._hook is None and not self._divides_whole_buckets
        with torch.no_grad():
            if param.grad is None:
                view.zero_()
            elif _shares_memory(param.grad, view):
                if divides:
                    view.div_(self._divide_factor())
            else:
                grad = param.grad.detach()
                if divides:
                    torch.mul(grad, 1.0 / self._divide_factor(), out=view)
                else:
                    view.copy_(grad)
                if self._grads_are_views:
                    param.grad = view

    def _divide_factor(self) -> int:
        if not self._divisor:
            self._divisor = self._group.size()
            if self._forward_work is not None and not self._forward_work[1]:
                work = self._forward_work[0]
                work.wait()
                self._divisor = int(work.get_future().value()[0].item())
        return self._divisor

    def _is_unused(self, index: int) -> bool:
        return (self._find_unused or self._static_graph) and index not in self._used

    def _launch(self, bucket: Bucket) -> None:
        if self._skips_unused and all(self._is_unused(index) for index in bucket.indices):
            return
        if self._divides_whole_buckets and self._hook is None:
            with torch.no_grad():
                bucket.buffer.div_(self._divide_factor())
        is_last = bucket is self.buckets[-1]
        future = self._run_comm_hook(GradBucket(bucket, bucket.buffer, is_last=is_last))
        self._results[bucket.index] = future.wait

    def _run_comm_hook(self, bucket: GradBucket) -> Any:
        """A future of the reduced buffer."""
        if self._hook is None:
            return self._run_allreduce_hook(bucket)
        hook, state = self._hook
        with torch.no_grad():
            return hook(state, bucket)

    def _run_allreduce_hook(self, bucket: GradBucket) -> Any:
        with torch.no_grad():
            return self._group.allreduce([bucket.buffer()]).get_future()

    def _launch_used_map(self) -> None:
        # Each rank's answer is the same; processes have to ask each other.
        used = [int(index in self._used) for index in range(len(self._params))]
        self._group.allreduce([torch.tensor(used, dtype=torch.int32)]).wait()

    # --- From buckets to gradients ----------------------------------------------------------------

    def _finalize(self) -> None:
        """Wait for all buckets and give the parameters their reduced gradients."""
        self._expects_hooks = False
        self._must_finalize = False
        self._is_in_backward = False
        with torch.no_grad():
            for bucket in self.buckets:
                if bucket.index not in self._results:
                    continue
                result: Any = self._results[bucket.index]()
                buffer = result if isinstance(result, torch.Tensor) else result[0]
                if not self._optimizes_in_backward:
                    self._copy_from_bucket(bucket, buffer)
        for future in self._futures:
            future.wait()
        self._futures = []
        if self._finds_unused:
            self._used = set()
        self._divisor = 0

    def _copy_from_bucket(self, bucket: Bucket, buffer: torch.Tensor) -> None:
        if self._grads_are_views and not _shares_memory(buffer, bucket.buffer):
            bucket.buffer.copy_(buffer)
        views = bucket.views if self._grads_are_views else bucket.views_of(buffer)
        for index, param, view in zip(bucket.indices, bucket.parameters, views, strict=True):
            if self._is_unused(index):
                continue  # on all ranks, so that optimizers leave the parameter alone
            if self._grads_are_views:
                if param.grad is not None and not _shares_memory(param.grad, view):
                    raise RuntimeError(
                        f"the gradient of {self._name(index)} is not the view of its bucket that "
                        "gradient_as_bucket_view=True made it. Do not assign to .grad during the "
                        "backward pass."
                    )
                param.grad = view
            elif param.grad is None:
                param.grad = torch.empty_like(param).copy_(view)
            else:
                param.grad.copy_(view)

    # --- Settings ---------------------------------------------------------------------------------

    def register_comm_hook(self, state: Any, hook: Hook) -> None:
        """Reduce buckets with `hook` from now on."""
        if self._hook is not None:
            raise RuntimeError("register_comm_hook can only be called once")
        self._hook = hook, state

    def get_backward_stats(self) -> list[int]:
        """Times of the backward pass; no clock runs here."""
        return []

    def set_logger(self, logger: Any) -> None:
        """Nothing to do: the logger asks the reducer."""

    def _set_forward_pass_work_handle(self, work: Any, use_static_world_size: bool) -> None:
        self._forward_work = work, use_static_world_size

    def _set_static_graph(self) -> None:
        self._static_graph = True

    def _set_optimizer_in_backward(self) -> None:
        self._optimizes_in_backward = True

    def _set_mixed_precision_param_dtype(self, dtype: torch.dtype) -> None:
        raise UnsupportedOpError(
            "DistributedDataParallel's mixed_precision copies parameters on streams of its own; use "
            "torch.autocast, or fully_shard with a MixedPrecisionPolicy"
        )

    def _set_ddp_runtime_logging_sample_rate(self, sample_rate: int) -> None:
        """Nothing to do: no clock runs here."""

    def _install_post_backward_futures(self, futures: list[Any]) -> None:
        self._futures += futures

    def _get_zeros_like_grad_buckets(self) -> list[GradBucket]:
        return [
            GradBucket(bucket, torch.zeros_like(bucket.buffer), is_last=bucket is self.buckets[-1])
            for bucket in self.buckets
        ]

    def _get_local_used_map(self) -> torch.Tensor:
        used = [int(index in self._used) for index in range(len(self._params))]
        return torch.tensor(used, dtype=torch.int32)

    def _remove_autograd_hooks(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _check_reducer_finalized(self) -> None:
        if not self._must_finalize:
            return
        begun = (
            "Expected to have finished reduction in the prior iteration before starting a new one: "
        )
        missing = [i for i in range(len(self._params)) if i not in self._ready]
        if not missing:
            raise RuntimeError(f"{begun}its backward pass ended with an error.")
        raise RuntimeError(
            f"{begun}{', '.join(map(self._name, missing))} got no gradient. Give DistributedDataParallel "
            "find_unused_parameters=True, and see that all outputs of forward() go into the loss."
        )

    def _reset_state(self) -> None:
        self._is_in_backward = False
        self._start_iteration(expects_hooks=False)

    def _update_process_group(self, new_process_group: dist.ProcessGroup) -> None:
        self._group = new_process_group

    def _name(self, index: int) -> str:
        # PyTorch joins the module's name, which the model itself has none of, and the parameter's.
        return self._names.get(index, f"parameter {index}").removeprefix(".")


def _shares_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(a.untyped_storage()._cdata == b.untyped_storage()._cdata)


def _parameters_behind(outputs: list[torch.Tensor]) -> set[int]:
    """The ids of the tensors that the outputs' graph accumulates gradients for."""
    todo = [output.grad_fn for output in outputs if output.grad_fn is not None]
    seen = set(todo)
    found = {id(output) for output in outputs if output.is_leaf}
    while todo:
        node: Any = todo.pop()
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)
    return found
