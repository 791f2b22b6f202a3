"""Sound: word-level LSTM language model, sequence-first, input and output embedding tied, dropout, SGD with clipping at 0.25; variant is ignored. change: none."""
import sys
import math
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

BPTT = 20
SUBJECTS = ["anna", "the dog", "my uncle", "a sailor", "the baker", "our neighbour"]
VERBS = ["buys", "paints", "hides", "finds", "sells"]
THINGS = {"buys": ["bread", "two apples"], "paints": ["the fence", "a portrait"], "hides": ["the key", "a letter"],
          "finds": ["a coin", "the path"], "sells": ["old books", "fresh fish"]}
WHEN = ["today", "every morning", "in spring"]


def corpus(sentences=2500):
    rng = np.random.default_rng(4)
    words = []
    for _ in range(sentences):
        verb = rng.choice(VERBS)
        words += f"{rng.choice(SUBJECTS)} {verb} {rng.choice(THINGS[verb])} {rng.choice(WHEN)} .".split()
    vocab = sorted(set(words))
    lookup = {w: i for i, w in enumerate(vocab)}
    return torch.tensor([lookup[w] for w in words]), vocab


def chunks(ids):
    n = (len(ids) - 1) // BPTT
    return TensorDataset(ids[:n * BPTT].view(n, BPTT), ids[1:n * BPTT + 1].view(n, BPTT))


def time_first(rows):
    x, y = zip(*rows)
    return torch.stack(x, 1), torch.stack(y, 1)


class WordLM(nn.Module):
    def __init__(self, vocab, dim=64):
        super().__init__()
        self.encoder = nn.Embedding(vocab, dim)
        self.drop = nn.Dropout(0.2)
        self.rnn = nn.LSTM(dim, dim)
        self.decoder = nn.Linear(dim, vocab)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        self.decoder.weight = self.encoder.weight

    def forward(self, tokens):
        out, _ = self.rnn(self.drop(self.encoder(tokens)))
        return self.decoder(self.drop(out))


def lm_loss(logits, target):
    return F.cross_entropy(logits.flatten(0, 1), target.flatten())


def parts(variant):
    torch.manual_seed(0)
    ids, vocab = corpus()
    cut = len(ids) * 9 // 10
    model = WordLM(len(vocab))

    def step(model, batch, optimizer):
        tokens, target = batch
        optimizer.zero_grad()
        loss = lm_loss(model(tokens), target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()
        return loss.detach()

    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=5.0), "step": step,
            "train_loader": DataLoader(chunks(ids[:cut]), batch_size=20, shuffle=True, collate_fn=time_first),
            "val_loader": DataLoader(chunks(ids[cut:]), batch_size=20, collate_fn=time_first)}


# a sentence has about 7 words and log(6 * 5 * 2 * 3) = 5.2 nats of choice: a perplexity of about 2.2 is all there is
WORKS = lambda score: score < 3.0

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        model.eval()
        with torch.no_grad():
            val = np.mean([lm_loss(model(x), y).item() for x, y in p["val_loader"]])
        print(f"epoch {epoch}: train ppl {math.exp(np.mean(losses)):.2f}, valid ppl {math.exp(val):.2f}")
    score = math.exp(val)
    print(f"score: {score:.4f}")
