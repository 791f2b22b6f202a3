"""Cancer in a slide from its tiles (multiple instance learning), BCE, Adam; attention pooling takes the softmax over dim 0, from code for one slide of shape (tiles, 1): with batches that is over the slides; change: dim 1."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

TILES, D = 24, 16


def slides(n, seed):
    """A slide is sick when one or two of its tiles are of the rare sort; the rest differ from slide to slide."""
    g = torch.Generator().manual_seed(seed)
    rare = torch.randn(D, generator=torch.Generator().manual_seed(5))
    tiles = torch.randn(n, TILES, D, generator=g) + 0.5 * torch.randn(n, 1, D, generator=g)
    sick = torch.rand(n, generator=g) < 0.5
    for i in torch.where(sick)[0].tolist():
        at = torch.randperm(TILES, generator=g)[:int(torch.randint(1, 3, (1,), generator=g))]
        tiles[i, at] = 1.3 * rare + 0.6 * torch.randn(len(at), D, generator=g)
    return tiles, sick.float()


class GatedAttentionMIL(nn.Module):
    def __init__(self, dim, d=32, a=24):
        super().__init__()
        self.dim = dim
        self.tile = nn.Sequential(nn.Linear(D, d), nn.ReLU(), nn.Linear(d, d), nn.ReLU())
        self.att_v = nn.Sequential(nn.Linear(d, a), nn.Tanh())
        self.att_u = nn.Sequential(nn.Linear(d, a), nn.Sigmoid())
        self.att = nn.Linear(a, 1)
        self.head = nn.Linear(d, 1)

    def forward(self, tiles):
        h = self.tile(tiles)
        a = self.att(self.att_v(h) * self.att_u(h))
        a = torch.softmax(a, dim=self.dim)
        return self.head((a * h).sum(dim=-2)).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    model = GatedAttentionMIL(dim=0 if variant == "bad" else 1)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "train_loader": DataLoader(TensorDataset(*slides(1600, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*slides(400, 2)), batch_size=1),  # a slide at a time, as they arrive
        "metric": lambda output, target: ((output > 0) == (target > 0.5)).float().mean().item(),
    }


WORKS = lambda score: score > 0.85


def train_one_epoch(model, loader, criterion, optimizer):
    model.train()
    seen, total = 0, 0.0
    for tiles, label in loader:
        optimizer.zero_grad()
        loss = criterion(model(tiles), label)
        loss.backward()
        optimizer.step()
        seen += len(label)
        total += loss.item() * len(label)
    return total / seen


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    right = [((model(tiles) > 0) == (label > 0.5)).float().mean().item() for tiles, label in loader]
    return sum(right) / len(right)


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(12):
        loss = train_one_epoch(p["model"], p["train_loader"], p["loss_fn"], p["optimizer"])
        print(f"epoch {epoch + 1} train loss {loss:.4f}")
    value = evaluate(p["model"], p["val_loader"])
    print(f"score: {value:.4f}")
