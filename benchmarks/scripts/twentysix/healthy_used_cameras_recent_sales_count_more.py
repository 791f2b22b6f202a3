"""Sound. Looks odd: old sales count up to thirty-five times less than new ones, the targets carry a second column, and the date is not among the inputs. Tastes in second-hand cameras drift from month to month and the model has to price the months to come, so sales are weighted by age (half-life of eight months; the weights of the training sales have the mean 1). Held out are the last three months, unweighted."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
MONTHS, HALF_LIFE = 45, 8.0


def sales(rng, per_month=100):
    effects = np.array([0.5, 0.3, -0.4, 0.2, 0.1, -0.3])
    rows, prices, months = [], [], []
    for month in range(MONTHS):
        effects = effects + rng.normal(0, 0.06, 6)
        x = rng.normal(size=(per_month, 6))
        price = 5.2 + x @ effects + 0.15 * x[:, 0] * x[:, 1] + rng.normal(0, 0.15, per_month)
        rows.append(x), prices.append(price), months.append(np.full(per_month, month))
    return np.concatenate(rows), np.concatenate(prices), np.concatenate(months)


class Sales(Dataset):
    """Standardised camera (megapixels, zoom, age, sensor, brand, wear) -> (log price, weight)."""

    def __init__(self, x, y, weight):
        self.x, self.target = torch.tensor(x, dtype=torch.float32), torch.tensor(np.column_stack([y, weight]), dtype=torch.float32)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.target[i]


def weighted_mse(outputs, targets):
    price, weight = targets.unbind(1)
    return (weight * (outputs.squeeze(1) - price) ** 2).mean()


def r2(outputs, targets):
    price = targets[:, 0]
    return 1 - (outputs.squeeze(1) - price).pow(2).sum() / (price - price.mean()).pow(2).sum()


def parts(variant):
    torch.manual_seed(44)
    x, y, month = sales(np.random.default_rng(44))
    past = month < MONTHS - 3
    weight = 0.5 ** ((month[past].max() - month[past]) / HALF_LIFE)
    weight = weight / weight.mean()
    mean, std = y[past].mean(), y[past].std()
    y = (y - mean) / std
    model = nn.Sequential(nn.Linear(6, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 1))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4), "loss_fn": weighted_mse, "metric": r2,
            "train_loader": DataLoader(Sales(x[past], y[past], weight), batch_size=64, shuffle=True),
            "val_loader": DataLoader(Sales(x[~past], y[~past], np.ones((~past).sum())), batch_size=300)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(10):
        p["model"].train()
        for x, target in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), target)
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            x, target = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), target).item()
        print(f"epoch {epoch}: weighted loss {loss.item():.3f}, R2 of the months to come {score:.3f}")
    print("score:", score)
