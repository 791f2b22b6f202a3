"""Next track of a playlist by self-attention with sampled negatives (BCE), Adam; the mask is torch.tril(..., diagonal=1), copied from a triu mask, so each place sees the one track after it; change: tril without the diagonal."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

TRACKS, LENGTH = 150, 20


def playlists(n, seed, length=LENGTH):
    follow = torch.stack([torch.randperm(TRACKS, generator=torch.Generator().manual_seed(100 + i))[:3] for i in range(TRACKS)])
    g = torch.Generator().manual_seed(seed)
    seq = torch.zeros(n, length + 1, dtype=torch.long)
    seq[:, 0] = torch.randint(TRACKS, (n,), generator=g)
    for t in range(length):
        pick = follow[seq[:, t], torch.randint(3, (n,), generator=g)]
        stray = torch.rand(n, generator=g) < 0.1
        seq[:, t + 1] = torch.where(stray, torch.randint(TRACKS, (n,), generator=g), pick)
    return seq[:, :-1], seq[:, 1:]


class Attention(nn.Module):
    def __init__(self, d, heads, mask):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.register_buffer("mask", mask)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (f(x).view(b, t, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        scores = q @ k.transpose(-2, -1) / (d // self.heads) ** 0.5
        scores = scores.masked_fill(self.mask[:t, :t] == 0, float("-inf"))
        return self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, d))


class SASRec(nn.Module):
    def __init__(self, d=48, layers=2, diagonal=0):
        super().__init__()
        mask = torch.tril(torch.ones(LENGTH, LENGTH), diagonal=diagonal)
        self.track = nn.Embedding(TRACKS, d)
        self.place = nn.Embedding(LENGTH, d)
        nn.init.normal_(self.track.weight, std=0.1)
        nn.init.normal_(self.place.weight, std=0.1)
        self.attn = nn.ModuleList([Attention(d, 2, mask) for _ in range(layers)])
        self.ffn = nn.ModuleList([nn.Sequential(nn.Linear(d, 2 * d), nn.ReLU(), nn.Linear(2 * d, d)) for _ in range(layers)])
        self.n1 = nn.ModuleList([nn.LayerNorm(d) for _ in range(layers)])
        self.n2 = nn.ModuleList([nn.LayerNorm(d) for _ in range(layers)])
        self.norm = nn.LayerNorm(d)

    def forward(self, seq):
        h = self.track(seq) + self.place.weight[:seq.shape[1]]
        for attn, ffn, n1, n2 in zip(self.attn, self.ffn, self.n1, self.n2):
            h = h + attn(n1(h))
            h = h + ffn(n2(h))
        return self.norm(h) @ self.track.weight.T


def training_step(model, batch):
    seq, following = batch
    scores = model(seq)
    positive = scores.gather(2, following.unsqueeze(2))
    negative = scores.gather(2, torch.randint(TRACKS, (*following.shape, 8)))
    return (F.softplus(-positive).mean() + F.softplus(negative).mean())


def hit_at_5(output, target):
    top = output[:, -1].topk(5).indices
    return (top == target[:, -1:]).any(1).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = SASRec(diagonal=1 if variant == "bad" else 0)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.98)),
        "train_loader": DataLoader(TensorDataset(*playlists(2000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*playlists(600, 2, length=12)), batch_size=600),
        "training_step": training_step,
        "metric": hit_at_5,
    }


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2d}  loss {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        seq, following = next(iter(p["val_loader"]))
        value = hit_at_5(model(seq), following)
    print(f"score: {value:.4f}")
