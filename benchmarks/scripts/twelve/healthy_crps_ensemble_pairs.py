"""Wind forecast as an ensemble: a net gives 16 members for each case and is trained by the energy form of the CRPS with Adam. Sound: (N, 16) against (N, 1) and (N, 16, 1) against (N, 1, 16) are meant to broadcast, within a case only, and the second term is taken off."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

MEMBERS = 16


def cases(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=g)
    centre = 1.5 * torch.sin(x[:, 0]) + x[:, 1] * x[:, 2]
    spread = 0.2 + 0.6 * torch.sigmoid(2 * x[:, 3])
    gust = -torch.log(torch.rand(n, generator=g)) * spread
    return TensorDataset(x, (centre + gust)[:, None])


class EnsembleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU())
        self.members = nn.Linear(64, MEMBERS)

    def forward(self, x):
        return self.members(self.body(x))


def crps(members, y):
    miss = (members - y).abs().mean(1)
    apart = (members[:, :, None] - members[:, None, :]).abs().sum((1, 2)) / (MEMBERS * (MEMBERS - 1))
    return (miss - 0.5 * apart).mean()


def parts(variant):
    torch.manual_seed(0)
    model = EnsembleNet()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": crps,
        "train_loader": DataLoader(cases(4000, 1), batch_size=64, shuffle=True),
        "val_loader": DataLoader(cases(1000, 2), batch_size=250),
    }


@torch.no_grad()
def skill(model, train_y, loader):
    """1 - CRPS / CRPS of the climate."""
    model.eval()
    m, y = torch.cat([model(x) for x, _ in loader]), torch.cat([y for _, y in loader])
    climate = train_y.flatten().quantile((torch.arange(MEMBERS) + 0.5) / MEMBERS).expand(len(y), -1)
    return (1 - crps(m, y) / crps(climate, y)).item()


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    train_y = p["train_loader"].dataset.tensors[1]
    for epoch in range(15):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
        print(f"epoch {epoch + 1}: crps {loss.item():.4f}, skill {skill(model, train_y, p['val_loader']):.3f}")
    print(f"score: {skill(model, train_y, p['val_loader']):.4f}")
