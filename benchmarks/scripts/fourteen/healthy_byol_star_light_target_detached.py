"""BYOL on light curves of variable stars (six kinds): the target network is a slow copy, detached and in no optimizer, only the online side is trained; sound. Judged by nearest neighbours in the online encoder's features; the loss may rise while the target moves away from its start."""
import copy
import math
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

POINTS = 60


def light_curves(n, seed):
    g = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 6, (n,), generator=g)
    t = torch.linspace(0, 2, POINTS) + torch.rand(n, 1, generator=g)
    k = kind[:, None]
    cycles = t * (1.0 + (k % 3))
    u = cycles % 1.0
    smooth = torch.sin(2 * math.pi * cycles)
    eclipse = 0.5 - 2 * torch.exp(-((u - 0.5) / 0.07) ** 2) - 0.8 * torch.exp(-(torch.minimum(u, 1 - u) / 0.07) ** 2)
    flux = torch.where(k < 3, smooth, eclipse)
    flux = flux * (0.7 + 0.6 * torch.rand(n, 1, generator=g)) + 0.5 * torch.randn(n, 1, generator=g)
    return (flux + 0.2 * torch.randn(n, POINTS, generator=g)).unsqueeze(1), kind


def view(x):
    n = len(x)
    shifts = torch.randint(0, POINTS, (n,)).tolist()
    x = torch.stack([torch.roll(a, s, dims=-1) for a, s in zip(x, shifts)])
    return x * (0.7 + 0.6 * torch.rand(n, 1, 1)) + 0.5 * torch.randn(n, 1, 1) + 0.15 * torch.randn_like(x)


def make_encoder():
    return nn.Sequential(nn.Conv1d(1, 24, 7, padding=3, padding_mode="circular"), nn.BatchNorm1d(24), nn.ReLU(), nn.MaxPool1d(2),
                         nn.Conv1d(24, 48, 7, padding=3, padding_mode="circular"), nn.BatchNorm1d(48), nn.ReLU(),
                         nn.AdaptiveAvgPool1d(1), nn.Flatten())


def make_mlp(a, b):
    return nn.Sequential(nn.Linear(a, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, b))


class BYOL(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.projector, self.predictor = make_encoder(), make_mlp(48, 24), make_mlp(24, 24)
        self.target = copy.deepcopy(nn.Sequential(self.encoder, self.projector))
        for w in self.target.parameters():
            w.requires_grad_(False)

    def forward(self, x):
        return self.predictor(self.projector(self.encoder(x)))

    @torch.no_grad()
    def update_target(self, tau=0.97):
        online = nn.Sequential(self.encoder, self.projector)
        for t, o in zip(self.target.parameters(), online.parameters()):
            t.mul_(tau).add_(o, alpha=1 - tau)


def parts(variant):
    torch.manual_seed(0)
    model = BYOL()
    optimizer = torch.optim.Adam([w for w in model.parameters() if w.requires_grad], lr=1e-3)

    def step(model, batch, optimizer):
        a, b = view(batch[0]), view(batch[0])
        with torch.no_grad():
            ta, tb = model.target(a), model.target(b)
        loss = 2 - F.cosine_similarity(model(a), tb).mean() - F.cosine_similarity(model(b), ta).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.update_target()
        return loss

    return dict(model=model, optimizer=optimizer, step=step,
                train_loader=DataLoader(TensorDataset(*light_curves(1500, 1)), batch_size=100, shuffle=True),
                val_loader=DataLoader(TensorDataset(*light_curves(400, 2)), batch_size=400))


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(15):
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch}: {sum(losses) / len(losses):.4f}")
    model.eval()
    with torch.no_grad():
        bank_x, bank_y = p["train_loader"].dataset.tensors
        x, y = next(iter(p["val_loader"]))
        a, b = F.normalize(model.encoder(x), dim=1), F.normalize(model.encoder(bank_x), dim=1)
        vote = bank_y[(a @ b.T).topk(7, dim=1).indices].mode(dim=1).values
    score = (vote == y).float().mean().item()
    print(f"score: {score:.4f}")
