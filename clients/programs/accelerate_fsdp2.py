"""accelerate: FSDP2, and a state that is saved, spoilt and loaded.

`--own-data`: the program shards its data itself, and trains alone.
"""

import sys
import tempfile

import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.utils import broadcast_object_list, set_seed
from results import digest, report
from torch.utils.data import DataLoader, TensorDataset

plugin = FullyShardedDataParallelPlugin(
    fsdp_version=2, reshard_after_forward=True, state_dict_type="SHARDED_STATE_DICT"
)
accelerator = Accelerator(cpu=not torch.cuda.is_available(), fsdp_plugin=plugin)
set_seed(3)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
optimizer = torch.optim.AdamW(model.parameters(), 0.05)
data = DataLoader(TensorDataset(torch.randn(24, 4), torch.randn(24, 2)), batch_size=3)
if "--own-data" in sys.argv:
    model, optimizer = accelerator.prepare(model, optimizer)
    data = [(x.cuda() + accelerator.process_index, y.cuda()) for x, y in data]
else:
    model, optimizer, data = accelerator.prepare(model, optimizer, data)
losses = []
for _ in range(2):
    for x, y in data:
        loss = (model(x) - y).square().mean()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(accelerator.gather_for_metrics(loss).mean().item())
if "--own-data" in sys.argv:
    report(losses=losses, parameters=digest(model))
    sys.exit()
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
