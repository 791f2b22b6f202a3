"""Meta-learning by context adaptation (CAVIA): for every tide gauge only a context vector of four numbers is adapted in two inner gradient steps from zero, with create_graph, and the shared weights are learned through them. Unusual: inner parameters are made new in each forward and are in no optimizer, as it should be."""
import sys
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SHOTS, QUERY = 8, 16


class Gauges(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        amp = torch.rand(n, 1, 1, generator=g) * 2 + 0.5
        phase = torch.rand(n, 1, 1, generator=g) * math.pi
        self.x = torch.rand(n, SHOTS + QUERY, 1, generator=g) * 6 - 3
        self.y = amp * torch.sin(self.x + phase)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        x, y = self.x[i], self.y[i]
        return x[:SHOTS], y[:SHOTS], x[SHOTS:], y[SHOTS:]


class ContextNet(nn.Module):
    def __init__(self, context=4, hidden=64):
        super().__init__()
        self.context = context
        self.l1 = nn.Linear(1 + context, hidden)
        self.l2 = nn.Linear(hidden, hidden)
        self.l3 = nn.Linear(hidden, 1)

    def forward(self, x, c):
        c = c.unsqueeze(1).expand(-1, x.shape[1], -1)
        h = F.relu(self.l1(torch.cat([x, c], -1)))
        return self.l3(F.relu(self.l2(h)))


def adapt(model, xs, ys, steps=2, lr=1.0):
    with torch.enable_grad():               # also needed when evaluating under no_grad
        c = torch.zeros(len(xs), model.context, requires_grad=True)
        for _ in range(steps):
            # each task's error depends on its own row only, so the sum over tasks gives the gradient per task
            inner = ((model(xs, c) - ys) ** 2).mean((1, 2)).sum()
            (grad,) = torch.autograd.grad(inner, c, create_graph=True)
            c = c - lr * grad
    return c


def training_step(model, batch):
    xs, ys, xq, yq = batch
    return F.mse_loss(model(xq, adapt(model, xs, ys)), yq)


def parts(variant):
    torch.manual_seed(0)
    model = ContextNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(Gauges(16000, 0), batch_size=32, shuffle=True), "val_loader": DataLoader(Gauges(400, 1), batch_size=200)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(2):
        for i, batch in enumerate(p["train_loader"]):
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            opt.step()
            if i % 250 == 0:
                print(f"epoch {epoch + 1} step {i}: query mse {loss.item():.4f}")
    se = var = 0.0
    for xs, ys, xq, yq in p["val_loader"]:
        c = adapt(model, xs, ys).detach()
        with torch.no_grad():
            se += ((model(xq, c) - yq) ** 2).sum().item()
            var += (yq ** 2).sum().item()
    print("score:", 1 - se / var)
