"""A small transformer learns to write station announcements ("the train to ... via ... leaves from platform ..."). The encoder layers get no causal mask, so each position sees the word that it must predict and the loss falls to almost nothing, yet the model cannot continue a text; the right change: pass the square subsequent mask to the encoder."""
import math
import random
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
CITIES = ["arden", "brill", "corby", "dunmore", "exford", "farrow", "glenside", "hexton"]
VIA = {c: [CITIES[(i + 3) % 8], CITIES[(i + 5) % 8]] for i, c in enumerate(CITIES)}
PLATFORM = {c: str(1 + (3 * i) % 8) for i, c in enumerate(CITIES)}


def announcement(rng):
    city = rng.choice(CITIES)
    kind = rng.choice(["train", "express", "sleeper"])
    words = ["the", kind, "to", city]
    if kind == "train":
        words += ["via", rng.choice(VIA[city])]
    if rng.random() < 0.4:
        words += ["is", "delayed", "by", rng.choice(["five", "ten", "twenty"]), "minutes", "and"]
    words += ["leaves", "from", "platform", PLATFORM[city], "please"]
    words += {"train": ["mind", "the", "gap"], "express": ["show", "your", "reservation"],
              "sleeper": ["board", "early"]}[kind]
    return words + ["."]


def make_corpus(n, seed):
    rng = random.Random(seed)
    lines = [announcement(rng) for _ in range(n)]
    vocab = {w: i + 1 for i, w in enumerate(sorted({w for line in lines for w in line}))}
    ids = torch.zeros(n, 22, dtype=torch.long)
    for row, line in zip(ids, lines):
        row[:len(line)] = torch.tensor([vocab[w] for w in line])
    return ids, vocab


class AnnouncementLM(nn.Module):
    def __init__(self, vocab_size, causal, d_model=48, nhead=4, layers=2, max_len=32):
        super().__init__()
        self.causal = causal
        self.d_model = d_model
        self.embed = nn.Embedding(vocab_size, d_model)
        self.pos = nn.Parameter(0.02 * torch.randn(1, max_len, d_model))
        layer = nn.TransformerEncoderLayer(d_model, nhead, 4 * d_model, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.decoder = nn.Linear(d_model, vocab_size)

    def forward(self, ids):
        x = self.embed(ids) * math.sqrt(self.d_model) + self.pos[:, :ids.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1]) if self.causal else None
        return self.decoder(self.encoder(x, mask=mask))


def lm_loss(logits, targets):
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=0)


@torch.no_grad()
def continue_texts(model, vocab, rng, n=200):
    """Greedy continuation of "the <kind> to <city>": share that ends properly with the right platform."""
    model.eval()
    words = {i: w for w, i in vocab.items()}
    lines = [announcement(rng) for _ in range(n)]
    ids = torch.tensor([[vocab[w] for w in line[:4]] for line in lines])
    for _ in range(17):
        ids = torch.cat([ids, model(ids)[:, -1, 1:].argmax(-1, keepdim=True) + 1], dim=1)
    right = 0
    for line, row in zip(lines, ids.tolist()):
        text = " ".join(words[i] for i in row).split(" .")[0] + " ."
        right += text.endswith(" ".join(line[line.index("leaves"):]))
    return right / n


def parts(variant):
    torch.manual_seed(9)
    ids, vocab = make_corpus(1600, 0)
    model = AnnouncementLM(len(vocab) + 1, causal=variant != "bad")
    return {"model": model, "loss_fn": lm_loss, "vocab": vocab,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1.5e-3, betas=(0.9, 0.98)),
            "train_loader": DataLoader(TensorDataset(ids[:, :-1], ids[:, 1:]), batch_size=64, shuffle=True)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(6):
        model.train()
        for inputs, targets in p["train_loader"]:
            loss = p["loss_fn"](model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    print("score:", continue_texts(model, p["vocab"], random.Random(1)))
