"""Energy of small clusters of atoms (dense graph, message passing); the node feature is the atomic number itself, standardised to mean 0 and spread 1, where the elements' chemistry has no order in it; change: an embedding of the atomic number."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

ATOMS, Z_MAX = 8, 84


class Clusters(Dataset):
    """Bonds between atoms cost what the elements' hidden affinities say; energy is the mean over the bonds."""

    def __init__(self, n, seed):
        fixed = torch.Generator().manual_seed(4)
        elements = torch.randperm(Z_MAX - 3, generator=fixed)[:36] + 3
        affinity = torch.zeros(Z_MAX)
        affinity[elements] = torch.randn(36, generator=fixed)
        site = torch.zeros(Z_MAX)
        site[elements] = torch.randn(36, generator=fixed)
        g = torch.Generator().manual_seed(seed)
        self.z = elements[torch.randint(0, 36, (n, ATOMS), generator=g)]
        upper = torch.triu((torch.rand(n, ATOMS, ATOMS, generator=g) < 0.4).float(), 1)
        self.bonds = upper + upper.transpose(1, 2)
        a = affinity[self.z]
        energy = (a.unsqueeze(1) * self.bonds * a.unsqueeze(2)).sum((1, 2)) / 8 + site[self.z].mean(1) * 2
        self.energy = energy / 1.0

    def __len__(self):
        return len(self.z)

    def __getitem__(self, i):
        return self.z[i], self.bonds[i], self.energy[i]


class ClusterNet(nn.Module):
    def __init__(self, nodes, width=48):
        super().__init__()
        self.nodes = nodes
        self.inp = nn.Embedding(Z_MAX, width) if nodes == "embedding" else nn.Linear(1, width)
        self.message = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.update = nn.ModuleList(nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(2))
        self.atom_energy = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, z, bonds):
        h = self.inp(z) if self.nodes == "embedding" else self.inp(((z.float() - 42.0) / 24.0).unsqueeze(-1))
        for message, update in zip(self.message, self.update):
            received = bonds @ message(h) / 3.0
            h = h + update(torch.cat([h, received], -1))
        return self.atom_energy(h).sum((1, 2)) / ATOMS ** 0.5


def training_step(model, batch):
    z, bonds, energy = batch
    return nn.functional.smooth_l1_loss(model(z, bonds), energy)


def parts(variant):
    torch.manual_seed(0)
    model = ClusterNet("number" if variant == "bad" else "embedding")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.4),
        "train_loader": DataLoader(Clusters(4000, 1), batch_size=64, shuffle=True),
        "val_loader": DataLoader(Clusters(600, 2), batch_size=200),
        "training_step": training_step,
    }


@torch.no_grad()
def r2(model, loader):
    model.eval()
    rows = [(model(z, b), e) for z, b, e in loader]
    out, y = torch.cat([r[0] for r in rows]), torch.cat([r[1] for r in rows])
    return (1 - (out - y).pow(2).mean() / y.var()).item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, scheduler = p["model"], p["optimizer"], p["scheduler"]
    for epoch in range(12):
        model.train()
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            optimizer.step()
        scheduler.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, R2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
