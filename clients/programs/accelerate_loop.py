"""accelerate: a training loop as its guide has it; gathered metrics, saved and loaded state."""

import tempfile

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed
from results import digest, report
from torch.utils.data import DataLoader, TensorDataset

# Without a GPU accelerate takes ranks to be one process each on their own, unless it is told.
accelerator = Accelerator(cpu=not torch.cuda.is_available(), gradient_accumulation_steps=2)
set_seed(3)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
optimizer = torch.optim.AdamW(model.parameters(), 0.05)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
data = DataLoader(TensorDataset(torch.randn(30, 4), torch.randn(30, 1)), batch_size=3, shuffle=True)
model, optimizer, data, scheduler = accelerator.prepare(model, optimizer, data, scheduler)
losses = []
for _ in range(2):
    for x, y in data:
        with accelerator.accumulate(model):
            loss = (model(x) - y).square().mean()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            losses.append(accelerator.gather_for_metrics(loss).mean().item())
folder = [tempfile.mkdtemp() if accelerator.is_main_process else None]
broadcast_object_list(folder)
accelerator.save_state(folder[0])
accelerator.wait_for_everyone()
before = digest(model)
with torch.no_grad():
    for parameter in model.parameters():
        parameter.zero_()
accelerator.load_state(folder[0])
assert digest(model) == before
report(losses=losses, parameters=before)
accelerator.end_training()
