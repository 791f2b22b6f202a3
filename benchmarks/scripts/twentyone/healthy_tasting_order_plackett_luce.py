"""A listwise ranker (Plackett-Luce likelihood of the jury's whole order) over eight ciders per tasting, trained with Adadelta."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ITEMS, FEATURES = 8, 10


def tastings(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, ITEMS, FEATURES, generator=g)
    quality = 1.5 * torch.tanh(x[..., 0] * x[..., 1]) + x[..., 2] - 0.7 * x[..., 3].abs() + 0.5 * x[..., 4]
    gumbel = -torch.log(-torch.log(torch.rand(n, ITEMS, generator=g).clamp(1e-6, 1 - 1e-6)))
    order = (quality / 0.3 + gumbel).argsort(dim=1, descending=True)
    return x, order


class Ranker(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1, bias=False))

    def forward(self, x):
        return self.body(x).squeeze(-1)


def plackett_luce(scores, order):
    s = scores.gather(1, order)
    tails = s.flip(1).logcumsumexp(1).flip(1)
    return (tails - s).sum(1).mean()


def concordance(scores, order):
    s = scores.gather(1, order)
    better = (s.unsqueeze(2) > s.unsqueeze(1)).float()
    mask = torch.triu(torch.ones(ITEMS, ITEMS), diagonal=1)
    return ((better * mask).sum((1, 2)) / mask.sum()).mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = Ranker()
    return {
        "model": model,
        "optimizer": torch.optim.Adadelta(model.parameters(), lr=1.0),
        "loss_fn": plackett_luce,
        "train_loader": DataLoader(TensorDataset(*tastings(3000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*tastings(800, 2)), batch_size=400),
    }


WORKS = lambda score: score > 0.82

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        model.train()
        total = 0.0
        for x, order in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), order)
            loss.backward()
            opt.step()
            total += loss.item() * len(x)
        model.eval()
        with torch.no_grad():
            score = sum(concordance(model(x), o) for x, o in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch} loss {total / len(p['train_loader'].dataset):.4f} concordance {score:.4f}")
    print(f"score: {score:.4f}")
