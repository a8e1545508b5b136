"""Tests that fail for a known reason. The list may only shrink: a test that passes must leave it."""

DDP_REDUCER = (
    "DistributedDataParallel's Reducer is C++ that reads tensors by data pointer, which a LocalTensor "
    "has none of; `replicate` and `fully_shard` do the same in Python"
)

# Test, by the end of its id -> reason.
KNOWN_FAILURES: dict[str, str] = {
    "test_training.py::test_parallel_training_gives_what_one_device_gives"
    "[distributed_data_parallel]": DDP_REDUCER,
}
