"""A small GPT-2 from scratch in the Trainer of Transformers; `--fault` gives it the optimizer of another one.

    python examples/loops/gpt2_trainer.py --fault

The lines marked "doctor" are all that the doctor needs. Without them:

    trainability run examples/loops/gpt2_trainer.py --fault
"""

import argparse
import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

from trainability.integrations import TransformersMonitor  # doctor

parser = argparse.ArgumentParser()
parser.add_argument("--fault", action="store_true", help="an optimizer that holds the parameters of another model")
parser.add_argument("--steps", type=int, default=40)
arguments = parser.parse_args()

set_seed(0)
sizes = {"vocab_size": 16, "n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
config = GPT2Config(**sizes, loss_type="ForCausalLM")
model = GPT2LMHeadModel(config)
trained = GPT2LMHeadModel(config) if arguments.fault else model
optimizer = torch.optim.AdamW(trained.parameters(), lr=3e-3)
starts = torch.randint(16, (512, 1))
tokens = (starts + torch.arange(12)) % 16  # counting up: the next token is certain
data = [{"input_ids": row, "labels": row} for row in tokens]

with tempfile.TemporaryDirectory() as folder:
    settings = TrainingArguments(
        output_dir=folder,
        max_steps=arguments.steps,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=2,
        lr_scheduler_type="constant",
        eval_strategy="steps",
        eval_steps=20,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model,
        args=settings,
        train_dataset=data[:448],
        eval_dataset=data[448:],
        optimizers=(optimizer, None),
        callbacks=[
            TransformersMonitor(every=10),  # doctor
        ],
    )
    trainer.train()
    weights = sum(p.double().sum() for p in model.parameters()).item()
    print(f"eval_loss {trainer.evaluate()['eval_loss']:.4f}, weights {weights!r}")
