"""Healthy: BYOL-like self-supervision of digits with an EMA target net (no gradient, in no optimizer); the loss is negative cosine and rises now and then as the target moves; judged by nearest neighbours in the features; nothing to change."""
import copy, sys
import torch
import torch.nn.functional as F
from torch import nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def mlp(i, h, o):
    return nn.Sequential(nn.Linear(i, h), nn.BatchNorm1d(h), nn.ReLU(), nn.Linear(h, o))


class BYOL(nn.Module):
    def __init__(self):
        super().__init__()
        self.online = nn.Sequential(mlp(64, 128, 64), nn.BatchNorm1d(64), nn.ReLU(), mlp(64, 64, 32))
        self.predictor = mlp(32, 64, 32)
        self.target = copy.deepcopy(self.online).requires_grad_(False)

    def view(self, x):
        im = x.view(-1, 1, 8, 8)
        s = torch.randint(-1, 2, (2,)).tolist()
        im = torch.roll(im, s, (2, 3)) * (0.8 + 0.4 * torch.rand(len(x), 1, 1, 1)) + 0.15 * torch.randn_like(im)
        return im.flatten(1)

    def features(self, x):
        return self.online[:1](x)


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.data / 8 - 1, dtype=torch.float32), torch.tensor(d.target)
    i = torch.randperm(len(x)); x, y = x[i], y[i]
    m = BYOL()

    def step(model, optimizer, batch):
        a, b = model.view(batch[0]), model.view(batch[0])
        loss = 0
        for u, v in ((a, b), (b, a)):
            with torch.no_grad():
                t = model.target(v)
            loss = loss - F.cosine_similarity(model.predictor(model.online(u)), t).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for p, q in zip(model.online.parameters(), model.target.parameters()):
                q.lerp_(p, 0.03)
        return loss.detach()

    return dict(model=m, optimizer=torch.optim.AdamW([*m.online.parameters(), *m.predictor.parameters()], 2e-3, weight_decay=1e-4), step=step,
                train_loader=DataLoader(TensorDataset(x[:1400], y[:1400]), 100, shuffle=True, drop_last=True),
                val_loader=DataLoader(TensorDataset(x[1400:], y[1400:]), 397))


WORKS = lambda score: score > 0.85   # 5 nearest neighbours on the projected features

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for e in range(40):
        p["model"].train()
        t = sum(p["step"](p["model"], p["optimizer"], b).item() for b in p["train_loader"]) / len(p["train_loader"])
        if e % 5 == 4: print(e + 1, t)
    p["model"].eval()
    x, y = p["train_loader"].dataset.tensors
    xv, yv = p["val_loader"].dataset.tensors
    with torch.no_grad():
        f, fv = F.normalize(p["model"].online(x), dim=1), F.normalize(p["model"].online(xv), dim=1)
    near = y[(fv @ f.T).topk(5).indices]
    print("score:", (near.mode(1).values == yv).float().mean().item())
