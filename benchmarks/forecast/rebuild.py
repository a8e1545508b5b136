"""Which of the measured runs can be run again as a forecast, and how; or why not."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
_CLUSTERS = {  # by how the rows name a GPU, from its start
    "H100 SXM HBM2e 500W": "grand-teton-h100-96",
    "H100 95GiB": "grand-teton-h100-96",
    "H100 80GB": "dgx-h100",
    "H100": "grand-teton-h100-96",  # those of torchtitan's authors; gpu_GB says 96
    "H200": "dgx-h200",
    "B200 SXM": "simumax-b200",
}
_MODELS = {
    "llama3.1-8B": ("llama3", "8B"),
    "llama3.1-70B": ("llama3", "70B"),
    "qwen3-32B": ("qwen3", "32B"),
}
# By these sources' rows nobody looks for what a forecast misses, and how far off they are is what forecasts
# tell of themselves. They were every other one that was rebuilt, in the table's order, when they were set
# apart; none moves for those that are rebuilt later.
HELD_OUT = (
    "torchtitan benchmarks/llama3_h100_202412_torchtitan.md",
    "torchtitan commit 3b39d7ab0",
    "torchtitan commit 9dc418a8b",
    "torchao float8nocompile README",
)
_CHECKPOINTING = ("none", "full", "selective op")

# What torchtitan and PyTorch had before these days, by torchtitan's commits and PyTorch's pull requests.
_UNTIL = {
    # run_llama_train.sh sets expandable_segments:True (a5e57e4a9)
    "expandable_segments": "2024-10-22",
    # PyTorch's nightlies took cuDNN's attention first on H100 from June 2024 on (pytorch#125343), until #138522
    "cudnn_attention": "2024-11-01",
    # the model's results are float, and made so in the model (in the loss since e10cb9494)
    "float_results": "2024-10-22",
    # AdamW with foreach functions (fused is the default since 6e4988550)
    "foreach_optimizer": "2025-02-24",
    # torchtitan's own RMSNorm, of many operators (nn.RMSNorm since 3b39d7ab0)
    "own_norm": "2025-03-19",
    # nn.RMSNorm made of many operators (one kernel since pytorch#153666)
    "composite_norm": "2025-08-01",
    # embedding, last norm and output in the model's group of FSDP (groups of their own since 83e694105)
    "one_root_group": "2025-07-28",
    # checkpoints stop recomputing when they have what is needed (never since 25413d224)
    "stops_early": "2025-08-29",
    # Qwen3 gathers the heads of normed queries and keys on all ranks of a tensor-parallel group (8c1d1c5fc)
    "gathered_heads": "2025-10-14",
    # keys and values are repeated for the heads that share them (no more since ff0829c10)
    "repeats_kv": "2026-01-27",
    # Qwen3's rotary embedding is in half precision (in float since 3da072e7b)
    "half_rope": "2026-03-14",
    # queries, keys and values have a matrix each (one for all since ad7a86533)
    "separate_qkv": "2026-04-16",
}


@dataclass(frozen=True)
class Run:
    """How a row is run again."""

    client: str  # of clients.toml
    program: str  # of programs/
    argument: str
    cluster: str
    ranks: int
    rank: int  # that is run
    is_compiled: bool  # it was; here it runs uncompiled
    tokens: int  # a step, of one GPU
    has_times: bool  # of this rank alone
    allocator: str  # PYTORCH_ALLOC_CONF


def measured_runs() -> list[dict[str, str]]:
    """The rows of measured_runs.csv."""
    with (HERE / "measured_runs.csv").open(newline="") as opened:
        return list(csv.DictReader(opened))


def rebuilt(row: dict[str, str]) -> Run | str:
    """How the row is run again, or the reason why it is not."""
    if not row["mem_GiB"] and "OOM" not in row["outcome"] and "not fit" not in row["outcome"]:
        return "it says nothing of memory"
    if row["framework"] == "torchtitan":
        return _with_torchtitan(row)
    if "TE " in row["framework"]:
        return _with_megatron(row)
    if "DeepSpeed" in row["framework"]:
        return "Megatron-DeepSpeed is no version of megatron-core"
    return f"{row['framework']} is not rebuilt yet"


def _with_megatron(row: dict[str, str]) -> Run | str:
    if row["ep"] != "1":
        return "expert parallelism: what each expert gets depends on data"
    if row["cp"] != "1":
        return "context parallelism is Transformer Engine's"
    run = {name: int(row[name]) for name in ("layers", "hidden", "ffn", "heads", "kv_heads")}
    run |= {name: int(row[name]) for name in ("vocab", "seq", "tp", "pp")}
    data_ranks = int(row["n_gpus"]) // (run["tp"] * run["pp"])
    run["batch"] = int(row["mbs"])
    run["microbatches"] = int(row["gbs"]) // (run["batch"] * data_ranks)
    return Run(
        client="megatron-core",
        program="megatron_run.py",
        argument=json.dumps(run),
        cluster=_cluster_of(row),
        ranks=int(row["n_gpus"]),
        rank=_rank_of_most(row),
        is_compiled=False,
        tokens=int(row["gbs"]) * run["seq"] // int(row["n_gpus"]),
        has_times=run["pp"] == 1,
        allocator="",
    )


def _rank_of_most(row: dict[str, str]) -> int:
    """The first one that had what the row tells as the most of all ranks."""
    told = re.search(rf"\b(\d+):{re.escape(row['mem_GiB'])}\b", row["notes"])
    return int(told[1]) if told else 0


def _cluster_of(row: dict[str, str]) -> str:
    return next(name for start, name in _CLUSTERS.items() if row["gpu"].startswith(start))


def _why_not_torchtitan(row: dict[str, str]) -> str:
    reasons = {
        "float8 kernels are torchao's": "float8" in row["dtype"],
        "a graph that torchtitan's graph trainer makes": "graph" in row["compile"]
        or "toolkit" in row["compile"]
        or "graph" in row["ac"],
        "its settings are in a file that the row does not have": "toml" in row["ac"],
        "torchtitan 0.3.0 calls schedules of pipelines that torch 2.13 has not": row["pp"] != "1",
        "context parallelism is not rebuilt yet": row["cp"] != "1",
        "expert parallelism: what each expert gets depends on data": row["ep"] != "1",
        f"no settings for {row['model']}": row["model"] not in _MODELS,
        f"no settings for checkpointing {row['ac']!r}": row["ac"] not in _CHECKPOINTING,
        "activations are offloaded to the host": row["notes"].startswith("offload"),
        "its chunked loss is another one than torchtitan 0.3.0's": "chunked" in row["notes"],
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _with_torchtitan(row: dict[str, str]) -> Run | str:
    if reason := _why_not_torchtitan(row):
        return reason
    family, flavor = _MODELS[row["model"]]
    as_of = {name for name, until in _UNTIL.items() if row["date"] < until}
    run = {
        "family": family,
        "flavor": flavor,
        "seq": int(row["seq"]),
        "batch": int(row["mbs"]),
        "fsdp": int(row["fsdp"]),
        "dp_replicate": int(row["dp_replicate"]),
        "tp": int(row["tp"]),
        "ac": row["ac"],
        "reshard": "never" if "reshard_after_forward=never" in row["notes"] else "default",
        "deterministic": "deterministic" in row["notes"],
        "as_of": sorted(as_of - {"expandable_segments"}),
    }
    return Run(
        client="torchtitan",
        program="torchtitan_run.py",
        argument=json.dumps(run),
        cluster=_cluster_of(row),
        ranks=int(row["n_gpus"]),
        rank=0,
        is_compiled=row["compile"] not in ("no", ""),
        tokens=int(row["mbs"]) * int(row["seq"]) // int(row["tp"]),
        has_times=True,
        allocator="" if "expandable_segments" in as_of else "expandable_segments:True",
    )
