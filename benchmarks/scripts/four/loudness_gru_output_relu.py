"""Loudness of audio clips in dB (all below zero) by a GRU: the regression head ends in ReLU; change: no ReLU at the end."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader


class Clips(Dataset):
    """Eight band levels over 40 frames; target is the loudness of the clip, in units of 20 dB below full scale."""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        level = -0.2 - 2.0 * torch.rand(n, generator=g)
        t = torch.linspace(0, 1, 40)
        rate = 1 + 5 * torch.rand(n, 1, generator=g)
        phase = 2 * math.pi * torch.rand(n, 1, generator=g)
        depth = torch.rand(n, 1, generator=g)
        envelope = depth * torch.sin(2 * math.pi * rate * t + phase)
        tilt = 0.6 * torch.randn(n, 1, 8, generator=g)
        self.bands = level[:, None, None] + envelope[:, :, None] + tilt + 0.3 * torch.randn(n, 40, 8, generator=g)
        loud = (level[:, None] + envelope).clamp(max=0)
        self.target = loud.topk(20, dim=1).values.mean(1, keepdim=True) - 0.1

    def __len__(self):
        return len(self.bands)

    def __getitem__(self, i):
        return self.bands[i], self.target[i]


class LoudnessNet(nn.Module):
    def __init__(self, hidden=48, final_activation=None):
        super().__init__()
        self.gru = nn.GRU(8, hidden, num_layers=1, batch_first=True)
        head = [nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, 1)]
        if final_activation is not None:
            head.append(final_activation)
        self.head = nn.Sequential(*head)

    def forward(self, x):
        _, h = self.gru(x)
        return self.head(h[-1])


def parts(variant):
    torch.manual_seed(0)
    model = LoudnessNet(final_activation=nn.ReLU() if variant == "bad" else None)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": nn.SmoothL1Loss(),
        "train_loader": DataLoader(Clips(1600, 1), batch_size=32, shuffle=True),
        "val_loader": DataLoader(Clips(400, 2), batch_size=100),
    }


WORKS = lambda score: score > 0.6


@torch.no_grad()
def r2(model, loader):
    model.eval()
    out, ref = [], []
    for x, y in loader:
        out.append(model(x))
        ref.append(y)
    out, ref = torch.cat(out), torch.cat(ref)
    return 1 - ((out - ref) ** 2).sum().item() / ((ref - ref.mean()) ** 2).sum().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            losses.append(loss.item())
        print(f"[{epoch}] train {sum(losses) / len(losses):.4f}  val R2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
