"""Lightning: FSDPStrategy, the older FullyShardedDataParallel."""

import os

import lightning
import torch
from lightning.pytorch.strategies import FSDPStrategy
from results import report
from torch.utils.data import DataLoader, TensorDataset


class Regression(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.losses = []

    def configure_model(self):
        if not hasattr(self, "net"):
            self.net = torch.nn.Sequential(
                torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
            )

    def training_step(self, batch, number):
        x, y = batch
        loss = (self.net(x) - y).square().mean()
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.trainer.model.parameters(), 0.1)


lightning.seed_everything(1)
data = TensorDataset(torch.randn(32, 4), torch.randn(32, 1))
module = Regression()
trainer = lightning.Trainer(
    max_epochs=2,
    devices=int(os.environ["WORLD_SIZE"]),
    strategy=FSDPStrategy(),
    accelerator="auto",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(module, DataLoader(data, batch_size=4))
report(losses=module.losses)
