"""Siamese net for signatures; the loss expects 1 for a different pair, the pairs carry 1 for the same writer; change: the fixed twin marks different pairs with 1."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

WRITERS = 30


def strokes(per_writer, seed):
    """a signature is a noisy sample of a writer's own curve, 2 x 24 points"""
    who = torch.Generator().manual_seed(50)
    coef = torch.randn(WRITERS, 2, 3, 2, generator=who)
    g = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 6.28, 24)
    basis = torch.stack([torch.stack([torch.sin(k * t), torch.cos(k * t)]) for k in (1, 2, 3)])
    ids = torch.arange(WRITERS).repeat_interleave(per_writer)
    c = coef[ids] + 0.35 * torch.randn(len(ids), 2, 3, 2, generator=g)
    xy = torch.einsum("nckb,kbt->nct", c, basis)
    offset = 3 * torch.randn(len(ids), 2, 1, generator=g)
    return xy + offset + 0.3 * torch.randn(xy.shape, generator=g), ids


class Pairs(Dataset):
    def __init__(self, x, ids, n, seed, mark_same):
        g = torch.Generator().manual_seed(seed)
        self.x, self.mark_same = x, mark_same
        self.same = torch.rand(n, generator=g) < 0.5
        self.left = torch.randint(0, len(ids), (n,), generator=g)
        self.right = torch.empty_like(self.left)
        for k in range(n):
            pool = torch.where((ids == ids[self.left[k]]) == self.same[k])[0]
            self.right[k] = pool[torch.randint(0, len(pool), (1,), generator=g)]

    def __len__(self):
        return len(self.left)

    def __getitem__(self, k):
        label = self.same[k] if self.mark_same else ~self.same[k]
        return self.x[self.left[k]], self.x[self.right[k]], label.float()


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(2, 24, 5, padding=2), nn.ReLU(), nn.Conv1d(24, 24, 5, stride=2, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 12, 64), nn.ReLU(), nn.Linear(64, 16))

    def forward(self, a, b):
        return F.pairwise_distance(self.net(a), self.net(b))


def contrastive_loss(distance, label, margin=2.0):
    return torch.mean((1 - label) * distance.pow(2) + label * torch.clamp(margin - distance, min=0.0).pow(2))


def parts(variant):
    torch.manual_seed(0)
    mark_same = variant == "bad"
    model = Siamese()
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3),
        "loss_fn": contrastive_loss,
        "train_loader": DataLoader(Pairs(*strokes(20, 1), 2400, 3, mark_same), batch_size=64, shuffle=True),
        "val_loader": DataLoader(Pairs(*strokes(8, 2), 600, 4, mark_same), batch_size=300),
    }


WORKS = lambda score: score > 0.8  # AUC of "near" for "same writer"


@torch.no_grad()
def auc(model, loader):
    model.eval()
    d = torch.cat([model(a, b) for a, b, _ in loader])
    same = loader.dataset.same
    return (d[same].unsqueeze(1) < d[~same].unsqueeze(0)).float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    print("untrained", round(auc(model, p["val_loader"]), 3))
    for epoch in range(15):
        model.train()
        s = 0
        for a, b, label in p["train_loader"]:
            loss = p["loss_fn"](model(a, b), label)
            opt.zero_grad()
            loss.backward()
            opt.step()
            s += loss.item()
        value = auc(model, p["val_loader"])
        print(f"epoch {epoch} loss {s / len(p['train_loader']):.4f} auc {value:.4f}")
    print(f"score: {value:.4f}")
