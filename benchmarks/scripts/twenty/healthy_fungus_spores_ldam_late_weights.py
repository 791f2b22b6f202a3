"""Long-tailed spores with LDAM: normalised classifier times 30, margins by class size, and class weights only from a later stage on, so the loss jumps there; sound. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

COUNTS = [900, 450, 220, 110, 50, 25]
STEPS_PER_EPOCH, DEFER = 28, 14


def spores(counts, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.cat([torch.full((n,), k) for k, n in enumerate(counts)])
    centres = torch.randn(6, 12, generator=torch.Generator().manual_seed(50)) * 1.1
    x = centres[y] + torch.randn(len(y), 12, generator=g)
    x[:, :2] = x[:, :2] + 0.3 * x[:, 2:4] ** 2
    return x, y


class NormedLinear(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(i, o))
        self.weight.data.uniform_(-1, 1).renorm_(2, 1, 1e-5).mul_(1e5)

    def forward(self, x):
        return F.normalize(x, dim=1).mm(F.normalize(self.weight, dim=0))


class LDAMLoss(nn.Module):
    def __init__(self, counts, max_m=0.5, s=30, beta=0.999):
        super().__init__()
        m = 1.0 / np.sqrt(np.sqrt(counts))
        self.m, self.s = torch.tensor(m * max_m / m.max(), dtype=torch.float32), s
        w = (1 - beta) / (1 - np.power(beta, counts))
        self.late = torch.tensor(w / w.sum() * len(counts), dtype=torch.float32)
        self.calls = 0

    def forward(self, cos, y):
        if torch.is_grad_enabled():
            self.calls += 1
        weight = self.late if self.calls > STEPS_PER_EPOCH * DEFER else None
        margin = F.one_hot(y, cos.size(1)) * self.m[y][:, None]
        return F.cross_entropy(self.s * (cos - margin), y, weight=weight)


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), NormedLinear(32, 6))
    opt = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=2e-4)
    return dict(model=model, optimizer=opt, loss_fn=LDAMLoss(COUNTS), scheduler=torch.optim.lr_scheduler.MultiStepLR(opt, [14, 18], 0.1),
                train_loader=DataLoader(TensorDataset(*spores(COUNTS, 1)), 64, shuffle=True),
                val_loader=DataLoader(TensorDataset(*spores([100] * 6, 2)), 600))


WORKS = lambda score: score > 0.8  # accuracy on a balanced test set

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            loss = criterion(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        p["scheduler"].step()
        if epoch % 3 == 0 or epoch == DEFER:
            print(f"epoch {epoch} loss {np.mean(losses):.4f}")
    model.eval()
    (x, y), = p["val_loader"]
    with torch.no_grad():
        hit = (model(x).argmax(1) == y).float()
    print("per class", [round(hit[y == k].mean().item(), 2) for k in range(6)])
    score = hit.mean().item()
    print(f"score: {score:.4f}")
