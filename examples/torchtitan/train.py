"""torchtitan's own trainer, on all ranks in lockstep. docs/torchtitan.md tells how to run it.

    polyrank run --world lockstep --ranks 4 examples/torchtitan/train.py \
        --module llama3 --config llama3_debugmodel …

What stands here is what torchtitan 0.3.0 takes for granted of processes: a rank and data that
differ between them. See on_cpu.py for the rest.
"""

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import polyrank
import torch
import torch.distributed as dist

# torchtitan reads them for its log's lines and its device.
os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0"

import on_cpu  # noqa: F401
from torch.utils import _pytree as pytree
from torchtitan.components.dataloader import BaseDataLoader
from torchtitan.config import ConfigManager
from torchtitan.tools.logging import init_logger


class EachRanksDataLoader(BaseDataLoader):
    """One of torchtitan's data loaders for each part of the batch; a rank gets its part's."""

    @dataclasses.dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        of_one_rank: BaseDataLoader.Config

    def __init__(self, config: Config, *, dp_rank: Any, **options: Any) -> None:
        self._part_of_rank = rank_dependent_ints(dp_rank)
        with polyrank.maybe_disable_local_tensor_mode():
            self._loaders = {
                part: config.of_one_rank.build(dp_rank=part, **options)
                for part in sorted(set(self._part_of_rank.values()))
            }

    def __iter__(self) -> Iterator[Any]:
        iterators = {part: iter(loader) for part, loader in self._loaders.items()}
        while True:
            with polyrank.maybe_disable_local_tensor_mode():
                batches = {part: next(iterator) for part, iterator in iterators.items()}
                joined = pytree.tree_map(self._joined, *(batches[part] for part in sorted(batches)))
            yield joined

    def _joined(self, *tensors: torch.Tensor) -> polyrank.LocalTensor:
        parts = dict(zip(sorted(self._loaders), tensors, strict=True))
        return polyrank.LocalTensor({r: parts[p] for r, p in self._part_of_rank.items()})

    def state_dict(self) -> dict[str, Any]:
        return {str(part): loader.state_dict() for part, loader in self._loaders.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, loader in self._loaders.items():
            loader.load_state_dict(state_dict[str(part)])


def rank_dependent_ints(value: Any) -> dict[int, int]:
    """What an int is on each rank."""
    if isinstance(value, torch.SymInt):
        return dict(value.node._local_ints)
    return dict.fromkeys(range(dist.get_world_size()), value)


# Without a group torchtitan asks for the rank only to decide which process writes a file or waits.
rank_in = dist.get_rank
dist.get_rank = lambda group=None: 0 if group is None else rank_in(group)

init_logger()
config = ConfigManager().parse_args()
config.dataloader = EachRanksDataLoader.Config(of_one_rank=config.dataloader)
trainer = config.build()
trainer.train()
trainer.close()
