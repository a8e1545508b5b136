"""Lightning: ModelParallelStrategy, tensor parallelism within it, and FSDP2 across."""

import os

import lightning
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from results import digest, report
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)
from torch.utils.data import DataLoader, TensorDataset


class Regression(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
        )
        self.losses = []

    def configure_model(self):
        plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
        parallelize_module(self.net, self.device_mesh["tensor_parallel"], plan)
        fully_shard(self.net, mesh=self.device_mesh["data_parallel"])

    def training_step(self, batch, number):
        x, y = batch
        loss = (self.net(x) - y).square().mean()
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 0.1)


lightning.seed_everything(1)
ranks = int(os.environ["WORLD_SIZE"])
data = TensorDataset(torch.randn(32, 4), torch.randn(32, 1))
module = Regression()
trainer = lightning.Trainer(
    max_epochs=1,
    devices=ranks,
    strategy=ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=ranks // 2),
    accelerator="auto",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(module, DataLoader(data, batch_size=4))
report(losses=module.losses, parameters=digest(module))
