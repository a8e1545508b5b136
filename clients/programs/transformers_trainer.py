"""transformers: a small Llama, trained by Trainer on all ranks; with --fsdp2 cut into shards."""

import sys
import tempfile

import torch
from results import digest, report
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, set_seed

set_seed(5)
config = LlamaConfig(
    vocab_size=64,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=32,
)
sharding = {}
if "--fsdp2" in sys.argv:
    sharding = {
        "fsdp": "full_shard auto_wrap",
        "fsdp_config": {
            "version": 2,
            "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"],
            "reshard_after_forward": True,
        },
    }
model = LlamaForCausalLM(config)
tokens = torch.randint(64, (24, 12), generator=torch.Generator().manual_seed(0))
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        per_device_train_batch_size=2,
        max_steps=4,
        learning_rate=0.01,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        seed=7,
        **sharding,
    )
    data = [{"input_ids": row, "labels": row} for row in tokens]
    trainer = Trainer(model=model, args=arguments, train_dataset=data)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    report(losses=losses, parameters=digest(trainer.model))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
