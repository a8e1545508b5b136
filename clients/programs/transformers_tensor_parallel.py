"""transformers: a saved Llama, loaded with tp_plan="auto", and a step."""

import tempfile

import torch
import torch.distributed as dist
from results import report
from torch.distributed.tensor import DTensor
from transformers import LlamaConfig, LlamaForCausalLM, set_seed

dist.init_process_group()
device = "cuda" if torch.cuda.is_available() else "cpu"
if device == "cuda":
    torch.cuda.set_device(dist.get_rank())
set_seed(5)
config = LlamaConfig(
    vocab_size=64,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=4,
    max_position_embeddings=32,
)
folder = [tempfile.mkdtemp()]
dist.broadcast_object_list(folder)
if dist.get_rank() == 0:
    LlamaForCausalLM(config).save_pretrained(folder[0])
dist.barrier()
model = LlamaForCausalLM.from_pretrained(folder[0], tp_plan="auto", dtype=torch.float32)
tokens = torch.randint(64, (2, 12), generator=torch.Generator().manual_seed(0)).to(device)
loss = model(input_ids=tokens, labels=tokens).loss
loss.backward()
norms = {}
for name, parameter in sorted(model.named_parameters()):
    gradient = parameter.grad
    if gradient is not None:
        whole = gradient.full_tensor() if isinstance(gradient, DTensor) else gradient
        norms[name] = whole.norm().item()
report(loss=loss, norms=norms)
dist.destroy_process_group()
