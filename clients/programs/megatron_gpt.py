"""Megatron-core: a small GPT, tensor parallel over two ranks and data parallel over two."""

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.distributed.finalize_model_grads import finalize_model_grads
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed
from megatron.core.transformer.transformer_config import TransformerConfig
from results import digest, report

dist.init_process_group()
rank = dist.get_rank()
is_on_gpu = torch.cuda.is_available()
device = torch.device("cuda", rank) if is_on_gpu else torch.device("cpu")
if is_on_gpu:
    torch.cuda.set_device(rank)
parallel_state.initialize_model_parallel(tensor_model_parallel_size=2)
if is_on_gpu:
    model_parallel_cuda_manual_seed(123)
torch.manual_seed(123 + parallel_state.get_tensor_model_parallel_rank())
config = TransformerConfig(
    num_layers=2,
    hidden_size=16,
    num_attention_heads=4,
    tensor_model_parallel_size=2,
    use_cpu_initialization=True,
    pipeline_dtype=torch.float32,
    attention_dropout=0.0,
    hidden_dropout=0.0,
    bias_dropout_fusion=False,
    gradient_accumulation_fusion=False,
)
model = GPTModel(config, get_gpt_layer_local_spec(), vocab_size=32, max_sequence_length=16)
model = model.to(device)
ddp = DistributedDataParallelConfig(use_distributed_optimizer=True, overlap_grad_reduce=False)
model = DistributedDataParallel(config, ddp, model)
optimizer = get_megatron_optimizer(
    OptimizerConfig(optimizer="adam", lr=0.01, use_distributed_optimizer=True), [model]
)
losses = []
for step in range(3):
    torch.manual_seed(1000 * parallel_state.get_data_parallel_rank() + step)
    tokens = torch.randint(32, (2, 16)).to(device)
    positions = torch.arange(16, device=device).expand(2, 16)
    mask = torch.ones(1, 1, 16, 16, device=device).triu(1).bool()
    optimizer.zero_grad()
    model.zero_grad_buffer()
    loss = model(tokens, positions, mask, labels=tokens).mean()
    loss.backward()
    finalize_model_grads([model])
    optimizer.step()
    losses.append(loss.item())
report(losses=losses, parameters=digest(model))
dist.destroy_process_group()
