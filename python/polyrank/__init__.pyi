from polyrank._C import Cohort, RankSet, num_cohort_threads, set_num_cohort_threads
from polyrank.any_world.failed_ranks import RanksFailedError
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
from polyrank.lockstep_world.local_runner_mode import LocalRunnerMode
from polyrank.lockstep_world.lockstep import lockstep, reduction_order
from polyrank.numbers.local_int_node import LocalIntNode
from polyrank.rank_threads import run_ranks
from polyrank.recording.trace import Trace, trace
from polyrank.tensor.active_modes import (
    enabled_local_tensor_mode,
    local_tensor_mode,
    maybe_disable_local_tensor_mode,
)
from polyrank.tensor.local_tensor import LocalTensor
from polyrank.tensor.local_tensor_mode import LocalTensorMode
from polyrank.tensor.per_rank import PerRank
from polyrank.tensor.rank_functions import (
    maybe_run_for_local_tensor,
    rank_map,
    reconcile,
    reconcile_args,
    tensor_map,
)
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
