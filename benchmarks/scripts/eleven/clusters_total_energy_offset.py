"""Energy of atomic clusters by a net over all pairs of atoms, AdamW with one-cycle; the targets are total energies (near -41000 eV, they differ by some eV) and the net starts at 0: it spends the training on the way there; change: mean and deviation of the training energies taken out."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

ATOMS = 6


def clusters(n, seed):
    g = torch.Generator().manual_seed(seed)
    pos = torch.randn(n, ATOMS, 3, generator=g) * 1.1
    i, j = torch.triu_indices(ATOMS, ATOMS, 1)
    r = (pos[:, i] - pos[:, j]).norm(dim=-1)
    bond = 4.0 * ((1 - torch.exp(-1.2 * (r - 1.6).clamp(min=-0.6))) ** 2 - 1)        # Morse
    energy = -41250.0 + bond.sum(1, keepdim=True)
    centres = torch.linspace(0.2, 5.0, 20)
    return torch.exp(-6.0 * (r[..., None] - centres) ** 2), energy


class PairNet(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.pair = nn.Sequential(nn.Linear(20, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.readout = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, rbf):
        return self.readout(self.pair(rbf).mean(1))


def parts(variant):
    torch.manual_seed(0)
    (xt, yt), (xv, yv) = clusters(3000, 1), clusters(600, 2)
    if variant != "bad":
        shift, scale = yt.mean(), yt.std()
        yt, yv = (yt - shift) / scale, (yv - shift) / scale
    train = DataLoader(TensorDataset(xt, yt), batch_size=64, shuffle=True)
    model = PairNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=20 * len(train)),
        "loss_fn": nn.SmoothL1Loss(),
        "train_loader": train,
        "val_loader": DataLoader(TensorDataset(xv, yv), batch_size=300),
    }


@torch.no_grad()
def explained(model, loader):
    model.eval()
    out, true = map(torch.cat, zip(*[(model(x), y) for x, y in loader]))
    return max(-1.0, 1 - ((out - true) ** 2).mean().item() / true.var().item())


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        p["model"].train()
        losses = []
        for rbf, energy in p["train_loader"]:
            p["optimizer"].zero_grad(set_to_none=True)
            loss = p["loss_fn"](p["model"](rbf), energy)
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, explained {explained(p['model'], p['val_loader']):.3f}")
    print(f"score: {explained(p['model'], p['val_loader']):.4f}")
