"""Tests that fail for a known reason. The list may only shrink: a test that passes must leave it."""

DDP_REDUCER = (
    "DistributedDataParallel's Reducer is C++ that reads tensors by data pointer, which a LocalTensor "
    "has none of; `replicate` and `fully_shard` do the same in Python"
)

# Test, by the end of its id -> reason.
KNOWN_FAILURES: dict[str, str] = {
    "test_training.py::test_parallel_training_gives_what_one_device_gives"
    "[distributed_data_parallel]": DDP_REDUCER,
    "test_assigning_up_to_a_rank_in_a_tensor_as_short_as_that": (
        "PyTorch asks for one answer to whether the slice is the whole: a DivergenceError"
    ),
    "test_gradient_where_only_some_ranks_broadcast": (
        "autograd decides once for all ranks whether to sum over a broadcast dimension"
    ),
}
