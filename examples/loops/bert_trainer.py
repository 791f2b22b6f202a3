"""A small BERT from scratch, batches that are dicts; `--fault` starts pooler and classifier at zero.

    python examples/loops/bert_trainer.py --fault

The lines marked "doctor" are all that the doctor needs. Without them:

    trainability run examples/loops/bert_trainer.py --fault
"""

import argparse
import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

from trainability.integrations import TransformersMonitor  # doctor

parser = argparse.ArgumentParser()
parser.add_argument("--fault", action="store_true", help="weights of pooler and classifier that start at zero")
parser.add_argument("--steps", type=int, default=40)
arguments = parser.parse_args()

set_seed(0)
sizes = {"vocab_size": 32, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
model = BertForSequenceClassification(BertConfig(**sizes, max_position_embeddings=16, num_labels=4))
if arguments.fault:
    torch.nn.init.zeros_(model.classifier.weight)
    torch.nn.init.zeros_(model.bert.pooler.dense.weight)
labels = torch.randint(4, (512,))
tokens = torch.randint(32, (512, 8))
tokens[:, 1] = labels  # the second token is the class
data = [{"input_ids": row, "labels": label} for row, label in zip(tokens, labels, strict=True)]

with tempfile.TemporaryDirectory() as folder:
    settings = TrainingArguments(
        output_dir=folder,
        max_steps=arguments.steps,
        per_device_train_batch_size=32,
        learning_rate=3e-3,
        lr_scheduler_type="constant",
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
        callbacks=[
            TransformersMonitor(every=10),  # doctor
        ],
    )
    trainer.train()
    weights = sum(p.double().sum() for p in model.parameters()).item()
    print(f"eval_loss {trainer.evaluate()['eval_loss']:.4f}, weights {weights!r}")
