"""A till that gives change: a small encoder-decoder transformer reads the digits of an amount in pence and writes the coins, largest first. The cross attention of the decoder takes its keys and values from the decoder's own sequence and not from the encoder's output, so the coins are guessed without the amount; the right change: self.cross(h, memory, memory). The score is the share of held-out amounts given exactly, decoded greedily."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
COINS = (200, 100, 50, 20, 10, 5, 2, 1)
PAD, BOS, EOS = 0, 1, 2
LONGEST = 14


def change(pence):
    out = [BOS]
    for i, coin in enumerate(COINS):
        out += [3 + i] * (pence // coin)
        pence %= coin
    out.append(EOS)
    return out + [PAD] * (LONGEST - len(out))


class Encoder(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.digit, self.place = nn.Embedding(10, d), nn.Parameter(0.3 * torch.randn(3, d))
        self.layer = nn.TransformerEncoderLayer(d, 4, 2 * d, dropout=0.0, batch_first=True)

    def forward(self, digits):
        return self.layer(self.digit(digits) + self.place)


class Decoder(nn.Module):
    def __init__(self, d, variant):
        super().__init__()
        self.variant = variant
        self.coin, self.place = nn.Embedding(3 + len(COINS), d), nn.Parameter(0.3 * torch.randn(LONGEST, d))
        self.own = nn.MultiheadAttention(d, 4, batch_first=True)
        self.cross = nn.MultiheadAttention(d, 4, batch_first=True)
        self.ff = nn.Sequential(nn.Linear(d, 3 * d), nn.ReLU(), nn.Linear(3 * d, d))
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(3))
        self.out = nn.Linear(d, 3 + len(COINS))

    def forward(self, tokens, memory):
        n = tokens.shape[1]
        ahead = torch.triu(torch.ones(n, n, dtype=torch.bool), 1)
        h = self.coin(tokens) + self.place[:n]
        h = self.norms[0](h + self.own(h, h, h, attn_mask=ahead, need_weights=False)[0])
        if self.variant == "bad":
            seen = self.cross(h, h, h, attn_mask=ahead, need_weights=False)[0]
        else:
            seen = self.cross(h, memory, memory, need_weights=False)[0]
        h = self.norms[1](h + seen)
        return self.out(self.norms[2](h + self.ff(h)))


class Till(nn.Module):
    def __init__(self, variant, d=48):
        super().__init__()
        self.encoder, self.decoder = Encoder(d), Decoder(d, variant)

    def forward(self, digits, tokens):
        return self.decoder(tokens, self.encoder(digits))


def training_step(model, batch):
    digits, coins = batch
    logits = model(digits, coins[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), coins[:, 1:].flatten(), ignore_index=PAD)


def parts(variant):
    torch.manual_seed(9)
    amounts = torch.randperm(999) + 1
    digits = torch.stack([amounts // 100, amounts // 10 % 10, amounts % 10], 1)
    coins = torch.tensor([change(a) for a in amounts.tolist()])
    model = Till(variant)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(digits[:800], coins[:800]), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(digits[800:], coins[800:]), batch_size=199)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(24):
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            p["optimizer"].step()
        if epoch % 8 == 7:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}")
    with torch.no_grad():
        digits, coins = next(iter(p["val_loader"]))
        given = torch.full((len(digits), 1), BOS)
        while given.shape[1] < LONGEST:
            given = torch.cat([given, model(digits, given)[:, -1].argmax(-1, keepdim=True)], 1)
        after = (given == EOS).cumsum(1) - (given == EOS).long() > 0
        exact = (given.masked_fill(after, PAD) == coins).all(1).float().mean()
    print("score:", exact.item())
