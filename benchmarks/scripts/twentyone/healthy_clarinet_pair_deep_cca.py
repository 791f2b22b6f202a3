"""Deep canonical correlation analysis of two microphones that hear the same clarinet; the loss is minus the summed correlation of whole large batches and is negative from the start."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SHARED = 3


def two_microphones(n, seed):
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(n, SHARED, generator=g)
    own_a, own_b = torch.randn(n, 5, generator=g), torch.randn(n, 5, generator=g)
    mix = torch.Generator().manual_seed(99)
    wa = torch.randn(SHARED + 5, 20, generator=mix) / 2
    wb = torch.randn(SHARED + 5, 16, generator=mix) / 2
    a = torch.tanh(torch.cat([z.pow(2) - 1, own_a], 1) @ wa) + 0.05 * torch.randn(n, 20, generator=g)
    b = torch.tanh(torch.cat([z.abs(), own_b], 1) @ wb) + 0.05 * torch.randn(n, 16, generator=g)
    return a, b


def tower(width_in):
    return nn.Sequential(nn.Linear(width_in, 128), nn.ELU(), nn.Linear(128, 128), nn.ELU(), nn.Linear(128, SHARED))


class TwoTowers(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = tower(20), tower(16)

    def forward(self, a, b):
        return self.left(a), self.right(b)


def inverse_root(m):
    values, vectors = torch.linalg.eigh(m)
    return vectors @ torch.diag(values.clamp_min(1e-6).rsqrt()) @ vectors.T


def summed_correlation(u, v, ridge=1e-3):
    u, v = u - u.mean(0), v - v.mean(0)
    n = len(u) - 1
    eye = torch.eye(u.shape[1])
    t = inverse_root(u.T @ u / n + ridge * eye) @ (u.T @ v / n) @ inverse_root(v.T @ v / n + ridge * eye)
    return torch.linalg.matrix_norm(t, "nuc")


def cca_loss(model, batch):
    u, v = model(*batch)
    return -summed_correlation(u, v)


def parts(variant):
    torch.manual_seed(0)
    model = TwoTowers()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4),
        "training_step": cca_loss,
        "train_loader": DataLoader(TensorDataset(*two_microphones(8000, 1)), batch_size=500, shuffle=True, drop_last=True),
        "val_loader": DataLoader(TensorDataset(*two_microphones(2000, 2)), batch_size=2000),
    }


WORKS = lambda score: score > 2.0

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            score = -cca_loss(model, next(iter(p["val_loader"]))).item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} held-out correlation {score:.4f} of {SHARED}")
    print(f"score: {score:.4f}")
