"""One clear error for each misuse."""

from __future__ import annotations

import polyrank
import pytest
import torch
from oracle.as_alone import distinct, shared
from oracle.rank_by_rank import local_int, same_on


def test_local_tensor_of_a_local_tensor_that_does_not_live_there() -> None:
    inner = same_on(2, torch.ones(2))
    with pytest.raises(polyrank.UsageError, match="rank 2; it lives on ranks"):
        polyrank.LocalTensor({1: inner, 2: inner})
    with pytest.raises(polyrank.UsageError, match="LocalTensor"):
        polyrank.LocalTensor({0: same_on(2, torch.ones(2), requires_grad=True)})


def test_tensors_that_require_grad() -> None:
    with pytest.raises(polyrank.UsageError, match=r"requires? grad"):
        polyrank.LocalTensor({0: torch.ones(2), 1: torch.ones(2, requires_grad=True)})


def test_mixed_dtypes() -> None:
    with pytest.raises(polyrank.UsageError, match="dtype") as error:
        polyrank.LocalTensor({0: torch.ones(2), 1: torch.ones(2).double()})
    # The message speaks as Python does, and says which ranks hold which.
    assert "torch.float64" in str(error.value) or "float64" in str(error.value)
    assert "1" in str(error.value)


def test_mixed_devices() -> None:
    with pytest.raises(polyrank.UsageError, match="device"):
        polyrank.LocalTensor({0: torch.ones(2), 1: torch.ones(2, device="meta")})


def test_mixed_layouts() -> None:
    with pytest.raises((polyrank.UsageError, polyrank.UnsupportedOpError), match=r"layout|sparse"):
        polyrank.LocalTensor({0: torch.ones(2, 2), 1: torch.ones(2, 2).to_sparse()})


def test_no_tensor() -> None:
    with pytest.raises(polyrank.UsageError, match=r"no tensor|at least one|empty"):
        polyrank.LocalTensor({})


def test_negative_rank() -> None:
    with pytest.raises(polyrank.UsageError, match="-1"):
        polyrank.LocalTensor({-1: torch.ones(2)})


def test_rank_outside_of_the_world() -> None:
    with polyrank.LocalTensorMode(2) as mode, mode.disable():
        one = torch.ones(2)
    with polyrank.LocalTensorMode(2), pytest.raises(polyrank.UsageError) as error:
        polyrank.LocalTensor({0: one, 5: one})
    assert "5" in str(error.value)
    assert "0-1" in str(error.value)


@pytest.mark.parametrize(
    "values", [None, [torch.ones(2)], {"0": torch.ones(2)}, {0: 3.0}, {0: None}]
)
def test_what_is_no_mapping_of_ranks_to_tensors(values: object) -> None:
    with pytest.raises((polyrank.UsageError, TypeError, AttributeError)):
        polyrank.LocalTensor(values)  # type: ignore[arg-type]


def test_data_ptr() -> None:
    x = same_on(2, torch.ones(2))
    for read in (
        lambda: int(x.data_ptr()),
        lambda: int(x.untyped_storage().data_ptr()),
        lambda: x.untyped_storage()[0],
    ):
        with pytest.raises(RuntimeError) as error:  # as PyTorch's simulator
            read()
        assert "data" in str(error.value) or "LocalTensor" in str(error.value)


@pytest.mark.parametrize("rank", [4, -1])
def test_ask_for_a_rank_that_it_does_not_live_on(rank: int) -> None:
    x = same_on(4, torch.ones(2))
    with pytest.raises(polyrank.UsageError, match=str(rank)):
        x.on_rank(rank)
    with pytest.raises(KeyError):
        x._local_tensors[rank]
    assert rank not in x._local_tensors


def test_cohorts_of_a_plain_tensor() -> None:
    assert not hasattr(torch.ones(2), "cohorts")


def test_errors_are_of_the_documented_types() -> None:
    assert issubclass(polyrank.UsageError, ValueError)
    assert issubclass(polyrank.UnsupportedOpError, NotImplementedError)
    assert not issubclass(polyrank.DivergenceError, Exception)
    assert issubclass(polyrank.CollectiveError, RuntimeError)
    for error in (
        polyrank.UsageError,
        polyrank.UnsupportedOpError,
        polyrank.DivergenceError,
        polyrank.CollectiveError,
    ):
        assert issubclass(error, polyrank.Error)


@pytest.mark.parametrize("values", [{}, {0: "a"}, {0: 1.5}, {-1: 1, 0: 2}])
def test_bad_rank_dependent_ints(values: dict[int, object]) -> None:
    with pytest.raises((polyrank.UsageError, TypeError)):
        polyrank.LocalIntNode(values)  # type: ignore[arg-type]


def test_rank_dependent_int_of_other_ranks() -> None:
    with pytest.raises(polyrank.UsageError, match="rank"):
        local_int({0: 1, 1: 2}) + local_int({1: 1, 2: 2})
    with pytest.raises(polyrank.UsageError, match="rank"):
        shared(8, ranks=4).on_all_ranks()[: local_int((1, 2))]


def test_dlpack_and_numpy_of_what_differs() -> None:
    x = distinct(3).on_all_ranks()
    with pytest.raises((polyrank.Error, RuntimeError, BufferError)):
        torch.utils.dlpack.to_dlpack(x)


def test_assigning_a_rank_of_another_geometry_is_refused_or_done() -> None:
    x = same_on(2, torch.ones(2))
    x._local_tensors[1] = torch.full((2,), 5.0)
    assert x.on_rank(1).tolist() == [5, 5]
    assert x.on_rank(0).tolist() == [1, 1]
    with pytest.raises(polyrank.Error):
        x._local_tensors[1] = torch.ones(2).double()
    with pytest.raises((polyrank.Error, KeyError)):
        x._local_tensors[7] = torch.ones(2)


def test_tensor_map_of_a_plain_tensor_in_a_mode() -> None:
    plain = torch.ones(2)
    with polyrank.LocalTensorMode(2), pytest.raises(polyrank.UsageError, match="LocalTensor"):
        polyrank.tensor_map(plain, lambda _, tensor: tensor)
