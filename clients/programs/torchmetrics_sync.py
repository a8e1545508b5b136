"""torchmetrics: states of metrics that are reduced and gathered, ragged ones too."""

import torch
import torch.distributed as dist
from results import report
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.aggregation import CatMetric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
)

dist.init_process_group()
rank = dist.get_rank()
device = "cuda" if torch.cuda.is_available() else "cpu"
if device == "cuda":
    torch.cuda.set_device(rank)
torch.manual_seed(rank)
metrics = MetricCollection(
    [MulticlassAccuracy(5), MulticlassConfusionMatrix(5), MulticlassAUROC(5)]
).to(device)
mean, every = MeanMetric().to(device), CatMetric().to(device)
for step in range(3):
    logits = torch.randn(6 + rank, 5).to(device)
    target = torch.randint(5, (6 + rank,)).to(device)
    metrics.update(logits.softmax(-1), target)
    mean.update(logits)
    every.update(logits[:, step])
report(mean=mean.compute(), every=every.compute(), **metrics.compute())
dist.destroy_process_group()
