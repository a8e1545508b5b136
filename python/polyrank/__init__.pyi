from polyrank._C import Cohort, RankSet, num_cohort_threads, set_num_cohort_threads
from polyrank.divergence.agreement import Agreement, agreement, expect_equal
from polyrank.errors import (
    CollectiveError,
    CollectiveMismatchError,
    DeadlockError,
    DivergenceError,
    DivisionByZeroError,
    Error,
    InternalError,
    UnknownOptionError,
    UnsupportedOpError,
    UsageError,
)
from polyrank.fake import fake_world
from polyrank.forecast.running import Forecast, forecast
from polyrank.install import install, uninstall
from polyrank.local_int_node import LocalIntNode
from polyrank.local_runner_mode import LocalRunnerMode
from polyrank.local_tensor import LocalTensor
from polyrank.local_tensor_mode import (
    LocalTensorMode,
    enabled_local_tensor_mode,
    local_tensor_mode,
    maybe_disable_local_tensor_mode,
)
from polyrank.lockstep import lockstep, reduction_order
from polyrank.per_rank import PerRank
from polyrank.rank_functions import (
    maybe_run_for_local_tensor,
    rank_map,
    reconcile,
    reconcile_args,
    tensor_map,
)
from polyrank.rank_threads import RanksFailedError, run_ranks
from polyrank.trace import Trace, trace
from polyrank.version import __version__
from polyrank.virtual_gpu import virtual_gpu
from polyrank.world import RunningWorld, current_world

__all__ = [
    "Agreement",
    "Cohort",
    "CollectiveError",
    "CollectiveMismatchError",
    "DeadlockError",
    "DivergenceError",
    "DivisionByZeroError",
    "Error",
    "Forecast",
    "InternalError",
    "LocalIntNode",
    "LocalRunnerMode",
    "LocalTensor",
    "LocalTensorMode",
    "PerRank",
    "RankSet",
    "RanksFailedError",
    "RunningWorld",
    "Trace",
    "UnknownOptionError",
    "UnsupportedOpError",
    "UsageError",
    "__version__",
    "agreement",
    "current_world",
    "enabled_local_tensor_mode",
    "expect_equal",
    "fake_world",
    "forecast",
    "install",
    "local_tensor_mode",
    "lockstep",
    "maybe_disable_local_tensor_mode",
    "maybe_run_for_local_tensor",
    "num_cohort_threads",
    "rank_map",
    "reconcile",
    "reconcile_args",
    "reduction_order",
    "run_ranks",
    "set_num_cohort_threads",
    "tensor_map",
    "trace",
    "uninstall",
    "virtual_gpu",
]
