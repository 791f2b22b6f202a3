"""Sound: Barlow Twins on two augmented views of spectra; the loss is a sum over a 64 by 64 matrix, begins at about a hundred and stays in the tens while the features first get worse and then better than an untrained net's for a nearest-neighbour classifier."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

BANDS, KINDS = 80, 12


def spectra(n, seed):
    """Each substance has five absorption lines; concentration, baseline and drift differ from sample to sample."""
    lines = torch.rand(KINDS, 5, generator=torch.Generator().manual_seed(77)) * 70 + 5
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, KINDS, (n,), generator=g)
    band = torch.arange(BANDS).float()
    depth = torch.rand(n, 5, 1, generator=g) + 0.5
    x = (depth * torch.exp(-((band - lines[y].unsqueeze(2)) / 1.6) ** 2)).sum(1)
    return x + baseline(n, g, 1.2) + 0.15 * torch.randn(n, BANDS, generator=g), y


def baseline(n, g, scale):
    t = torch.linspace(-1, 1, BANDS)
    c = torch.randn(n, 3, 1, generator=g)
    return scale * (c[:, 0] + c[:, 1] * t + c[:, 2] * t ** 2)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(BANDS, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 64))
        self.projector = nn.Sequential(nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64, affine=False))

    def forward(self, x):
        return self.projector(self.body(x))


def view(x):
    x = x * (0.8 + 0.4 * torch.rand(len(x), 1)) + baseline(len(x), None, 2.0)
    return (x + 0.1 * torch.randn_like(x)) * (torch.rand_like(x) > 0.1)


def twins(model, batch, off=0.1):
    x = batch[0]
    a, b = model(view(x)), model(view(x))
    c = a.T @ b / len(x)
    on = (c.diagonal() - 1).pow(2).sum()
    return on + off * (c.pow(2).sum() - c.diagonal().pow(2).sum())


def parts(variant):
    torch.manual_seed(0)
    model = Encoder()
    (x, y), (vx, vy) = spectra(2000, 1), spectra(400, 2)
    m, s = x.mean(), x.std()
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.95),
        "training_step": twins,
        "train_loader": DataLoader(TensorDataset((x - m) / s, y), batch_size=100, shuffle=True, drop_last=True),
        "val_loader": DataLoader(TensorDataset((vx - m) / s, vy), batch_size=400),
    }


@torch.no_grad()
def nearest(model, p):
    model.eval()
    x, y = p["train_loader"].dataset.tensors
    f = nn.functional.normalize(model.body(x), dim=1)
    right = []
    for vx, vy in p["val_loader"]:
        sim = nn.functional.normalize(model.body(vx), dim=1) @ f.T
        right.append((y[sim.topk(5, dim=1).indices].mode(1).values == vy).float())
    return torch.cat(right).mean().item()


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    print("before:", nearest(model, p))
    for epoch in range(30):
        model.train()
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {loss.item():.1f}, nearest neighbours right {nearest(model, p):.3f}")
    print(f"score: {nearest(model, p):.4f}")
