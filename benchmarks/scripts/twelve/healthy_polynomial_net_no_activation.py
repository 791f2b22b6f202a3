"""Healthy: a polynomial net (Pi-net) for whether two of four signs agree and for which ring a point lies in; it has linear layers only and no activation anywhere, and gets its non-linearity from products of them."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def points(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=g)
    agree = (x[:, 0] * x[:, 1] > 0).long()
    far = (x[:, 2] ** 2 + x[:, 3] ** 2 > 1.4).long()
    return x, 2 * agree + far


class PiNet(nn.Module):
    """x_1 = U_1 z; x_n = (U_n z) * x_{n-1} + x_{n-1}; output C x_N."""

    def __init__(self, n_in, width, n_out, degree=3):
        super().__init__()
        self.u = nn.ModuleList([nn.Linear(n_in, width) for _ in range(degree)])
        self.c = nn.Linear(width, n_out)

    def forward(self, z):
        x = self.u[0](z)
        for u in list(self.u)[1:]:
            x = u(z) * x + x
        return self.c(x)


def accuracy(output, target):
    return (output.argmax(1) == target).float().mean().item()


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = PiNet(6, 48, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*points(5000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*points(1000, 2)), batch_size=1000),
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=15),
        "metric": accuracy,
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            opt.step()
        p["scheduler"].step()
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            acc = accuracy(model(x), y)
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}  accuracy {acc:.3f}")
    print(f"score: {acc:.4f}")
