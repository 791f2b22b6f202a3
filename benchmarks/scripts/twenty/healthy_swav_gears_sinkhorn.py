"""SwAV on turned outlines of gears: codes by three Sinkhorn rounds under no_grad, swapped prediction, prototypes kept on the sphere in every step and without gradient at first, loss starts near log K and falls slowly; sound. change: nothing."""
import sys
import math
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

K = 24


def gears(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 6, (n,), generator=g)
    a = torch.linspace(0, 2 * math.pi, 49)[:-1]
    teeth = torch.tensor([3.0, 4, 5, 3, 4, 5])[y][:, None]
    depth = torch.tensor([0.5, 0.5, 0.5, 1.0, 1.0, 1.0])[y][:, None]
    return 1 + depth * torch.sin(teeth * a + 6.28 * torch.rand(n, 1, generator=g)), y


def view(x):
    shift = torch.randint(0, 48, (len(x), 1))
    idx = (torch.arange(48)[None] + shift) % 48
    return x.gather(1, idx) * torch.empty(len(x), 1).uniform_(0.8, 1.2) + 0.15 * torch.randn_like(x)


class SwAV(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Unflatten(1, (1, 48)), nn.Conv1d(1, 16, 9, padding=4, padding_mode="circular"), nn.BatchNorm1d(16), nn.ReLU(),
                                  nn.Conv1d(16, 32, 9, stride=2, padding=4, padding_mode="circular"), nn.BatchNorm1d(32), nn.ReLU(),
                                  nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16))
        self.prototypes = nn.Linear(16, K, bias=False)
        self.seen = 0

    def forward(self, x):
        return self.prototypes(F.normalize(self.head(self.body(x)), dim=1))


@torch.no_grad()
def sinkhorn(scores, eps=0.05):
    q = torch.exp((scores - scores.max()) / eps).t()
    q /= q.sum()
    for _ in range(3):
        q /= q.sum(1, keepdim=True) * q.size(0)
        q /= q.sum(0, keepdim=True) * q.size(1)
    return (q * q.size(1)).t()


def step(model, batch, optimizer):
    x = batch[0]
    with torch.no_grad():
        model.prototypes.weight.copy_(F.normalize(model.prototypes.weight, dim=1))
    s1, s2 = model(torch.cat([view(x), view(x)])).chunk(2)
    q1, q2 = sinkhorn(s1), sinkhorn(s2)
    loss = -0.5 * ((q1 * F.log_softmax(s2 / 0.1, 1)).sum(1) + (q2 * F.log_softmax(s1 / 0.1, 1)).sum(1)).mean()
    optimizer.zero_grad()
    loss.backward()
    model.seen += 1
    if model.seen <= 30:
        model.prototypes.weight.grad = None
    optimizer.step()
    return loss


def parts(variant):
    torch.manual_seed(0)
    x, y = gears(2560, 1)
    model = SwAV()
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-6), step=step,
                train_loader=DataLoader(TensorDataset(x, y), 128, shuffle=True, drop_last=True),
                val_loader=DataLoader(TensorDataset(*gears(1200, 2)), 1200))


WORKS = lambda score: score > 0.85  # purity: share of new gears that have the commonest kind of their prototype

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]

    def purity():
        model.eval()
        (x, y), = p["val_loader"]
        with torch.no_grad():
            code = model(view(x)).argmax(1)
        return sum(torch.bincount(y[code == k]).max().item() for k in code.unique()) / len(y)

    print("purity before", purity())
    for epoch in range(16):
        model.train()
        losses = [p["step"](model, b, p["optimizer"]).item() for b in p["train_loader"]]
        if epoch % 3 == 0:
            print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")
    score = purity()
    print(f"score: {score:.4f}")
