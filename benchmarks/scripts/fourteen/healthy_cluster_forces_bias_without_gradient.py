"""Healthy: forces in clusters of atoms from a learned energy: the force is minus the derivative of the energy (a graph within the graph), only forces are in
the loss, so the last bias, a mere offset of the energy, never gets a gradient. Nothing to change."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ATOMS = 5


def morse(positions):
    d = torch.cdist(positions, positions) + torch.eye(ATOMS)
    pair = (1 - torch.exp(-1.5 * (d - 1.2))) ** 2
    return (pair * (1 - torch.eye(ATOMS))).sum((1, 2)) / 2


def clusters(n, seed):
    g = torch.Generator().manual_seed(seed)
    grid = torch.tensor([[0, 0, 0], [1.3, 0, 0], [0, 1.3, 0], [0, 0, 1.3], [1.3, 1.3, 0]])
    r = (grid + 0.15 * torch.randn(n, ATOMS, 3, generator=g)).requires_grad_()
    force = -torch.autograd.grad(morse(r).sum(), r)[0]
    return TensorDataset(r.detach(), force)


class ForceField(nn.Module):
    def __init__(self, rbf=16, hidden=48):
        super().__init__()
        self.register_buffer("centres", torch.linspace(0.6, 3.0, rbf))
        self.energy = nn.Sequential(nn.Linear(rbf, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1))
        self.register_buffer("pairs", torch.combinations(torch.arange(ATOMS)))

    def forward(self, r):
        with torch.enable_grad():
            r = r.detach().requires_grad_()
            i, j = self.pairs.T
            d = (r[:, i] - r[:, j]).norm(dim=-1, keepdim=True)
            e = self.energy(torch.exp(-((d - self.centres) / 0.2) ** 2)).sum()
            return -torch.autograd.grad(e, r, create_graph=self.training)[0]


def parts(variant):
    torch.manual_seed(0)
    model = ForceField()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def step(model, batch, optimizer):
        r, force = batch
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.mse_loss(model(r), force)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return dict(model=model, optimizer=optimizer, step=step, scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 25),
                train_loader=DataLoader(clusters(1500, 1), 50, shuffle=True), val_loader=DataLoader(clusters(300, 2), 100))


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(25):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        p["scheduler"].step()
        print(f"epoch {epoch}: {sum(losses) / len(losses):.5f}")
    model.eval()
    out = [(model(r), f) for r, f in p["val_loader"]]
    z, f = (torch.cat(v) for v in zip(*out))
    score = 1 - ((z - f).square().mean() / f.var()).item()
    print(f"score: {score:.4f}")
