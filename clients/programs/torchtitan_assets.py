"""What torchtitan's debug models read and its wheel has not: a tokenizer and a text, made up here."""

import json
import random
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = ("rank", "mesh", "shard", "group", "store", "tensor", "stage", "token")

folder = Path("tests/assets/tokenizer")
folder.mkdir(parents=True)
vocabulary = {word: number for number, word in enumerate(("<s>", "</s>", "<unk>", *WORDS))}
tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.add_special_tokens(["<s>", "</s>"])
tokenizer.save(str(folder / "tokenizer.json"))
settings = {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True, "add_eos_token": True}
(folder / "tokenizer_config.json").write_text(json.dumps(settings))

texts = Path("tests/assets/c4_test")
texts.mkdir()
draw = random.Random(0)
lines = [{"text": " ".join(draw.choices(WORDS, k=50))} for _ in range(400)]
(texts / "data.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
