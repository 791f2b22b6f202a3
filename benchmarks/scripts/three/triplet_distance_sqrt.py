"""Batch-hard triplet loss on digits; the distance matrix takes the square root of its zero diagonal; change: the fixed twin adds a small constant under the root."""
import sys
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

def load_digits(n=1797, seed=1797):
    """Small written digits, 8x8 with values 0 to 16: a 5x7 font, turned, stretched, shifted and blurred by hand."""
    font = ["0e11131519110e", "040c040404040e", "0e11010204081f", "1f02040201110e", "02060a121f0202", "1f101e0101110e", "0608101e11110e", "1f010204080808", "0e11110e11110e", "0e11110f01020c"]
    glyph = torch.tensor([[[int(f[2 * r:2 * r + 2], 16) >> (4 - c) & 1 for c in range(5)] for r in range(7)] for f in font], dtype=torch.float32)
    glyph = nn.functional.pad(glyph, (2, 1, 0, 1))
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 10, (n,), generator=g)
    a = 0.15 * torch.randn(n, generator=g)
    s = 1 + 0.12 * torch.randn(n, 2, generator=g)
    t = 0.1 * torch.randn(n, 2, generator=g)
    theta = torch.stack([torch.stack([a.cos() * s[:, 0], -a.sin(), t[:, 0]], 1), torch.stack([a.sin(), a.cos() * s[:, 1], t[:, 1]], 1)], 1)
    x = nn.functional.grid_sample(glyph[y].unsqueeze(1), nn.functional.affine_grid(theta, (n, 1, 8, 8), align_corners=False), align_corners=False)[:, 0]
    x = (x * (0.8 + 0.4 * torch.rand(n, 1, 1, generator=g)) + 0.06 * torch.randn(n, 8, 8, generator=g)).clamp(0, 1) * 16
    return x.round(), y


class TripletHard(nn.Module):
    def __init__(self, margin=0.5, eps=0.0):
        super().__init__()
        self.margin, self.eps = margin, eps

    def pairwise(self, e):
        diff = e.unsqueeze(0) - e.unsqueeze(1)
        return (diff.pow(2).sum(-1) + self.eps).sqrt()

    def forward(self, embeddings, labels):
        d = self.pairwise(embeddings)
        same = labels.unsqueeze(0) == labels.unsqueeze(1)
        hardest_pos = (d * same).max(1).values
        hardest_neg = (d + same * 1e6).min(1).values
        return torch.relu(hardest_pos - hardest_neg + self.margin).mean()


class PKSampler:
    """P classes with K examples each."""

    def __init__(self, labels, P=8, K=6, batches=30, seed=0):
        self.by_class = [torch.where(labels == c)[0] for c in labels.unique()]
        self.P, self.K, self.batches = P, K, batches
        self.g = torch.Generator().manual_seed(seed)

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            chosen = torch.randperm(len(self.by_class), generator=self.g)[: self.P]
            yield [int(i) for c in chosen for i in self.by_class[c][torch.randperm(len(self.by_class[c]), generator=self.g)[: self.K]]]


def parts(variant):
    torch.manual_seed(0)
    x, y = load_digits()
    x = x.flatten(1) / 8 - 0.6
    perm = torch.randperm(len(x), generator=torch.Generator().manual_seed(2))
    x, y = x[perm], y[perm]
    net = nn.Sequential(nn.Linear(64, 128), nn.PReLU(), nn.Linear(128, 64), nn.PReLU(), nn.Linear(64, 12))
    return {
        "model": net,
        "optimizer": torch.optim.Adam(net.parameters(), lr=5e-4),
        "loss_fn": TripletHard(eps=0.0 if variant == "bad" else 1e-8),
        "train_loader": DataLoader(TensorDataset(x[:1300], y[:1300]), batch_sampler=PKSampler(y[:1300])),
        "val_loader": DataLoader(TensorDataset(x[1300:], y[1300:]), batch_size=500),
    }


WORKS = lambda score: score > 0.85  # nearest neighbour within the validation embeddings has the same label


def nearest_neighbour(net, loader):
    net.eval()
    with torch.no_grad():
        x, y = next(iter(loader))
        d = torch.cdist(net(x), net(x))
        d.fill_diagonal_(1e9)
        return (y[d.argmin(1)] == y).float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, loss_fn, opt = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(15):
        net.train()
        s = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            opt.step()
            s += loss.item()
        acc = nearest_neighbour(net, p["val_loader"])
        print(f"epoch {epoch}: triplet {s / 30:.4f}, 1-NN {acc:.4f}")
    print(f"score: {acc:.4f}")
