"""BYOL on two noisy sensors of one hidden state; no mistake: the target network is frozen and follows as a moving average, and the loss goes to almost nothing as it would in a collapse; change: none."""
import copy
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from torch.utils.data import DataLoader, TensorDataset

TAU = 0.99
WORKS = lambda score: score > 0.7          # R2 of a linear probe for the hidden state


def sensors(n, seed):
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(4, 32, generator=torch.Generator().manual_seed(3))
    noise_dirs = torch.randn(12, 32, generator=torch.Generator().manual_seed(4))
    h = torch.randn(n, 4, generator=g)
    view = lambda: h @ mix + 0.8 * torch.randn(n, 12, generator=g) @ noise_dirs + 0.3 * torch.randn(n, 32, generator=g)
    return view() / 3, view() / 3, h


def head(i, hid, o):
    return nn.Sequential(nn.Linear(i, hid), nn.BatchNorm1d(hid), nn.ReLU(), nn.Linear(hid, o))


class BYOL(nn.Module):
    def __init__(self):
        super().__init__()
        self.online = nn.Sequential(head(32, 128, 8), nn.BatchNorm1d(8), head(8, 64, 16))
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.predictor = head(16, 64, 16)

    def forward(self, a, b):
        loss = 0.0
        for x, y in ((a, b), (b, a)):
            pred = self.predictor(self.online(x))
            with torch.no_grad():
                goal = self.target(y)
            loss = loss + 1 - F.cosine_similarity(pred, goal, dim=1).mean()
        return loss

    @torch.no_grad()
    def follow(self):
        for t, o in zip(self.target.parameters(), self.online.parameters()):
            t.lerp_(o, 1 - TAU)


def parts(variant="fixed"):
    torch.manual_seed(0)
    a, b, _ = sensors(6000, 0)
    loader = DataLoader(TensorDataset(a, b), batch_size=256, shuffle=True, drop_last=True)
    model = BYOL()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3, weight_decay=1e-4)

    def step(model, batch, optimizer):
        loss = model(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.follow()
        return loss.detach()

    return dict(model=model, optimizer=optimizer, train_loader=loader, step=step)


def probe(model):
    model.eval()
    with torch.no_grad():
        (ea, ha), (eb, hb) = [(model.online[:2](a).numpy(), h.numpy()) for a, _, h in (sensors(2000, 1), sensors(2000, 2))]
    model.train()
    return Ridge(1e-3).fit(ea, ha).score(eb, hb)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print("before: probe R2", round(probe(p["model"]), 3))
    for epoch in range(40):
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        if epoch < 3 or epoch % 10 == 9:
            print(f"epoch {epoch + 1}: {np.mean(losses):.4f}")
    print("score:", round(probe(p["model"]), 4))
