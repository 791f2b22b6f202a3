"""Healthy: two noisy views of each track, GRU encoder, InfoNCE with temperature 0.1; no labels, the loss starts at log(batch); bf16 autocast."""
import math, sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

STEPS = 24


def tracks(n, seed):
    """Smooth walks in the plane, each with its own speed, turn and wobble."""
    g = torch.Generator().manual_seed(seed)
    speed, turn, wobble, start = torch.rand(4, n, 1, generator=g)
    t = torch.arange(STEPS)
    angle = 2 * math.pi * start + (turn - 0.5) * 0.6 * t + 0.8 * torch.sin(t * (0.3 + wobble))
    return torch.stack([torch.cos(angle), torch.sin(angle)], -1) * (0.5 + speed.unsqueeze(-1))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(2, 48, batch_first=True)
        self.project = nn.Sequential(nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 24, bias=False))

    def forward(self, x):
        return F.normalize(self.project(self.gru(x)[0].mean(1)), dim=-1)


def view(x):
    x = x + 0.25 * torch.randn_like(x)
    keep = (torch.rand(x.shape[:2]) > 0.2).float().unsqueeze(-1)
    return x * keep


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = Encoder()

    def training_step(model, batch):
        x = batch[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            a, b = model(view(x)), model(view(x))
        logits = a.float() @ b.float().T / 0.1
        which = torch.arange(len(x))
        return 0.5 * (F.cross_entropy(logits, which) + F.cross_entropy(logits.T, which))

    return {"model": model, "training_step": training_step,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.98), weight_decay=1e-3),
            "train_loader": DataLoader(TensorDataset(tracks(1536, 1)), batch_size=128, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(tracks(128, 2)), batch_size=128)}


WORKS = lambda score: score > 0.3        # the other view of the same track is the nearest of 128

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")

    def retrieval():
        p["model"].eval()
        with torch.no_grad():
            x = next(iter(p["val_loader"]))[0]
            torch.manual_seed(5)
            sim = p["model"](view(x)) @ p["model"](view(x)).T
        p["model"].train()
        return (sim.argmax(1) == torch.arange(len(x))).float().mean().item()

    for epoch in range(25):
        torch.manual_seed(1000 + epoch)
        total = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 3 == 0:
            print(f"epoch {epoch}: nce {total / len(p['train_loader']):.3f} (chance {math.log(128):.3f})  top1 {retrieval():.3f}")
    print(f"score: {retrieval():.4f}")
