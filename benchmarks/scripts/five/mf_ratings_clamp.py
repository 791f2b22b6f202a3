"""Matrix factorisation of star ratings; forward() clamps the prediction to 1..5 in training too, and below 1, where every prediction starts, no gradient comes back; change: clamps only in eval mode."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class MatrixFactorization(nn.Module):
    def __init__(self, n_users, n_items, dim=12, variant="fixed"):
        super().__init__()
        self.variant = variant
        self.user = nn.Embedding(n_users, dim)
        self.item = nn.Embedding(n_items, dim)
        self.user_bias = nn.Embedding(n_users, 1)
        self.item_bias = nn.Embedding(n_items, 1)
        nn.init.normal_(self.user.weight, std=0.1)
        nn.init.normal_(self.item.weight, std=0.1)
        nn.init.zeros_(self.user_bias.weight)
        nn.init.zeros_(self.item_bias.weight)

    def forward(self, pairs):
        u, i = pairs[:, 0], pairs[:, 1]
        rating = (self.user(u) * self.item(i)).sum(1)
        rating = rating + self.user_bias(u).squeeze(1) + self.item_bias(i).squeeze(1)
        if self.variant == "bad" or not self.training:
            rating = rating.clamp(1.0, 5.0)  # stars
        return rating


def make_ratings(n_users=400, n_items=250, per_user=90, seed=0):
    r = np.random.RandomState(seed)
    pu, qi = r.randn(n_users, 3), r.randn(n_items, 3)
    bu, bi = 0.3 * r.randn(n_users), 0.5 * r.randn(n_items)
    rows = []
    for u in range(n_users):
        for i in r.choice(n_items, per_user, replace=False):
            s = 3.3 + bu[u] + bi[i] + 0.5 * pu[u] @ qi[i] + 0.3 * r.randn()
            rows.append((u, i, float(np.clip(np.round(s), 1, 5))))
    rows = np.array(rows)
    r.shuffle(rows)
    return torch.tensor(rows[:, :2], dtype=torch.long), torch.tensor(rows[:, 2], dtype=torch.float32)


def parts(variant="fixed"):
    torch.manual_seed(0)
    pairs, stars = make_ratings()
    cut = int(0.85 * len(pairs))
    model = MatrixFactorization(400, 250, variant=variant)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5),
        "train_loader": DataLoader(TensorDataset(pairs[:cut], stars[:cut]), batch_size=256, shuffle=True),
        "val_loader": DataLoader(TensorDataset(pairs[cut:], stars[cut:]), batch_size=2048),
        "loss_fn": nn.MSELoss(),
        "metric": lambda output, target: ((output - target) ** 2).mean().sqrt(),
    }


@torch.no_grad()
def rmse(model, loader):
    model.eval()
    err = torch.cat([model(x) - y for x, y in loader])
    model.train()
    return err.pow(2).mean().sqrt().item()


WORKS = lambda score: score < 0.75

if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            opt.step()
        if epoch % 3 == 0:
            print(f"epoch {epoch}: train mse {loss.item():.3f}  test rmse {rmse(model, p['val_loader']):.3f}")
    print(f"score: {rmse(model, p['val_loader']):.4f}")
