"""Word-level LSTM language model on weather proverbs made from a small grammar ("if the swallow flies low in may then rain comes before the hay"), trained with plain SGD.
The norm of the gradient is clipped to 0.002, hundreds of times below what it is, so that the weights hardly move; the right change: a limit of about the size of the gradients (clip=1.0)."""
import random
import sys
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


@dataclass
class Config:
    embed: int = 24
    hidden: int = 64
    lr: float = 1.0
    clip: float = 1.0
    batch: int = 25
    epochs: int = 9


SIGNS = {"swallow": ["flies low", "flies high"], "moon": ["wears a ring", "shines clear"], "cat": ["washes its ears", "sleeps by the fire"],
         "smoke": ["hangs over the roof", "rises to the sky"], "frog": ["sings at noon", "hides in the pond"]}
OUTCOMES = [["rain comes before the", "storm follows after the"], ["sun stays until the", "frost bites in the"]]
MONTHS = {"march": "plough", "may": "hay", "july": "harvest", "september": "vintage", "december": "feast"}


def compose(rng):
    subject = rng.choice(list(SIGNS))
    which = rng.randrange(2)
    month = rng.choice(list(MONTHS))
    opening = rng.choice(["if the", "when the", "should the"])
    text = f"{opening} {subject} {SIGNS[subject][which]} in {month} then {rng.choice(OUTCOMES[which])} {MONTHS[month]}"
    return text.split() + ["<end>"]


def encode(proverbs, vocab, length=18):
    rows = [[vocab["<start>"]] + [vocab[w] for w in p] for p in proverbs]
    return torch.tensor([r + [0] * (length - len(r)) for r in rows])


class ProverbLM(nn.Module):
    def __init__(self, vocab, cfg):
        super().__init__()
        self.embed = nn.Embedding(vocab, cfg.embed, padding_idx=0)
        self.lstm = nn.LSTM(cfg.embed, cfg.hidden, batch_first=True)
        self.out = nn.Linear(cfg.hidden, vocab)

    def forward(self, tokens):
        return self.out(self.lstm(self.embed(tokens))[0])


def token_loss(model, tokens):
    logits = model(tokens[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=0)


def make_step(cfg):
    def step(model, batch, optimizer):
        optimizer.zero_grad()
        loss = token_loss(model, batch[0])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), cfg.clip)
        optimizer.step()
        return loss.detach()
    return step


def parts(variant):
    torch.manual_seed(9)
    rng = random.Random(9)
    cfg = Config(clip=0.002) if variant == "bad" else Config()
    proverbs = [compose(rng) for _ in range(1800)]
    words = ["<pad>", "<start>"] + sorted({w for p in proverbs for w in p})
    tokens = encode(proverbs, {w: i for i, w in enumerate(words)})
    model = ProverbLM(len(words), cfg)
    return {"model": model, "step": make_step(cfg), "optimizer": torch.optim.SGD(model.parameters(), lr=cfg.lr),
            "train_loader": DataLoader(TensorDataset(tokens[:1500]), batch_size=cfg.batch, shuffle=True),
            "val_loader": DataLoader(TensorDataset(tokens[1500:]), batch_size=300)}


WORKS = lambda score: score < 2.5       # perplexity; about 1.45 is the grammar's own

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(Config.epochs):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        with torch.no_grad():
            score = token_loss(p["model"], next(iter(p["val_loader"]))[0]).exp().item()
        print(f"epoch {epoch}: loss {loss:.3f}, perplexity {score:.2f}")
    print("score:", score)
