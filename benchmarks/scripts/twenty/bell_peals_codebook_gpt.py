"""A small decoder-only transformer learns strings of codebook indices (bell peals coded by a tokenizer) and is then asked to continue them. Mistake: the cross entropy compares the output at place t with the token at place t, which is in the input, so the model learns to repeat. change: logits[:, :-1] against tokens[:, 1:]."""
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

N_CODES, LENGTH = 24, 18


def make_peals(n, gen):
    start = torch.randint(0, N_CODES, (n, 1), generator=gen)
    stride = torch.randint(1, 8, (n, 1), generator=gen)
    turn = torch.randint(0, 3, (n, 1), generator=gen)
    t = torch.arange(LENGTH)[None]
    return (start + stride * t + turn * (t // 3)) % N_CODES


class PealTransformer(nn.Module):
    def __init__(self, dim=64, heads=4, layers=2):
        super().__init__()
        self.codes = nn.Embedding(N_CODES, dim)
        self.places = nn.Embedding(LENGTH, dim)
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, N_CODES)

    def forward(self, tokens):
        steps = tokens.size(1)
        mask = nn.Transformer.generate_square_subsequent_mask(steps)
        h = self.codes(tokens) + self.places(torch.arange(steps))
        return self.head(self.norm(self.blocks(h, mask=mask, is_causal=True)))


def parts(variant):
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(3)
    train, val = make_peals(3000, gen), make_peals(300, gen)
    model = PealTransformer()

    def training_step(model, batch):
        (tokens,) = batch
        logits = model(tokens)
        if variant == "bad":
            return F.cross_entropy(logits.transpose(1, 2), tokens)
        return F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:])

    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3),
            "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(train), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(val), batch_size=100)}


WORKS = lambda score: score > 0.8


@torch.no_grad()
def continue_peal(model, prompt, steps):
    tokens = prompt
    for _ in range(steps):
        tokens = torch.cat([tokens, model(tokens)[:, -1].argmax(-1, keepdim=True)], 1)
    return tokens


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(14):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch:2d}  train loss {total / len(p['train_loader']):.4f}")
    model.eval()
    hits = []
    for (tokens,) in p["val_loader"]:
        made = continue_peal(model, tokens[:, :8], LENGTH - 8)
        hits.append((made[:, 8:] == tokens[:, 8:]).float().mean(1))
    score = torch.cat(hits).mean().item()
    print(f"score: {score:.4f}")
