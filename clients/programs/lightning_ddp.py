"""Lightning: DistributedDataParallel, two epochs."""

import os
import tempfile

import lightning
import torch
from results import digest, report
from torch.utils.data import DataLoader, TensorDataset


class Regression(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
        )
        self.losses = []

    def training_step(self, batch, number):
        x, y = batch
        loss = (self.net(x) - y).square().mean()
        self.log("loss", loss, sync_dist=True)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 0.1)


lightning.seed_everything(1)
data = TensorDataset(torch.randn(32, 4), torch.randn(32, 1))
module = Regression()
with tempfile.TemporaryDirectory() as folder:
    trainer = lightning.Trainer(
        max_epochs=2,
        devices=int(os.environ["WORLD_SIZE"]),
        strategy="ddp",
        accelerator="auto",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(module, DataLoader(data, batch_size=4))
    trainer.strategy.barrier()
report(losses=module.losses, loss=trainer.callback_metrics["loss"], parameters=digest(module))
