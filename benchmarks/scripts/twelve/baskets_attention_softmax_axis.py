"""Price of a basket of goods (a set of items with a mask) by attention pooling; the softmax over the items is written with dim=0 on scores of shape (baskets, items), so the weights are shared out among the baskets of the batch; change: dim=1."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

ITEMS = 9


class Baskets(Dataset):
    """Each item has 6 features, one of which says how urgent it is; the most urgent item sets the price."""

    def __init__(self, n, seed):
        fixed = torch.Generator().manual_seed(5)
        w1, w2 = torch.randn(6, 8, generator=fixed) / 6 ** 0.5, torch.randn(8, generator=fixed) / 8 ** 0.5
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n, ITEMS, 6, generator=g)
        size = torch.randint(3, ITEMS + 1, (n, 1), generator=g)
        self.mask = torch.arange(ITEMS)[None] < size
        urgent = self.x[:, :, 0].masked_fill(~self.mask, -1e9).argmax(1)
        value = torch.tanh(self.x @ w1 * 1.5) @ w2
        self.y = value[torch.arange(n), urgent] / 0.6
        self.x = self.x * self.mask.unsqueeze(-1)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.mask[i], self.y[i]


class BasketNet(nn.Module):
    def __init__(self, over, width=48):
        super().__init__()
        self.over = over
        self.items = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.score = nn.Linear(width, 1)
        self.price = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, x, mask):
        h = self.items(x)
        scores = self.score(h).squeeze(-1).masked_fill(~mask, -1e4)
        weights = torch.softmax(scores, dim=self.over)
        return self.price((weights.unsqueeze(-1) * h).sum(1)).squeeze(-1)


def training_step(model, batch):
    x, mask, y = batch
    return nn.functional.mse_loss(model(x, mask), y)


def parts(variant):
    torch.manual_seed(0)
    model = BasketNet(over=0 if variant == "bad" else 1)
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3),
        "train_loader": DataLoader(Baskets(4000, 1), batch_size=64, shuffle=True),
        "val_loader": DataLoader(Baskets(800, 2), batch_size=64),
        "training_step": training_step,
    }


@torch.no_grad()
def explained(model, loader):
    model.eval()
    rows = [(model(x, m), y) for x, m, y in loader]
    out, y = torch.cat([r[0] for r in rows]), torch.cat([r[1] for r in rows])
    return (1 - (out - y).pow(2).sum() / (y - y.mean()).pow(2).sum()).item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: {sum(losses) / len(losses):.4f}, explained {explained(model, p['val_loader']):.3f}")
    print(f"score: {explained(model, p['val_loader']):.4f}")
