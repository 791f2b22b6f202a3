"""Customer churn from a table; the layer builder puts a ReLU after the last layer too, so the logit is never negative; change: the fixed twin leaves the last layer linear."""
import math
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

COLUMNS = ["tenure", "monthly", "calls", "complaints", "age", "discount", "contract", "visits", "data_gb", "late_days", "lines", "region"]


def customers(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, len(COLUMNS), generator=g)
    col = {c: x[:, i] for i, c in enumerate(COLUMNS)}
    s = 1.6 * col["complaints"] - 1.8 * col["tenure"] + 1.2 * col["monthly"] * col["contract"] + 0.9 * col["late_days"].abs() - 3.0
    y = (torch.rand(n, generator=g) < torch.sigmoid(1.6 * s)).float()
    return x, y.unsqueeze(1)


def mlp(sizes, linear_last=True):
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    if linear_last:
        layers = layers[:-1]
    return nn.Sequential(*layers)


def parts(variant):
    torch.manual_seed(0)
    model = mlp([len(COLUMNS), 48, 24, 1], linear_last=variant != "bad")
    return dict(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3),
        loss_fn=nn.BCEWithLogitsLoss(),
        train_loader=DataLoader(TensorDataset(*customers(3000, 10)), batch_size=64, shuffle=True),
        val_loader=DataLoader(TensorDataset(*customers(1000, 11)), batch_size=500),
    )


# share of the label's entropy that the model explains
WORKS = lambda score: score > 0.25


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        out = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([t for _, t in loader])
    bce = nn.functional.binary_cross_entropy_with_logits(out, y).item()
    q = y.mean().item()
    h = -(q * math.log(q) + (1 - q) * math.log(1 - q))
    return 1 - bce / h


def main(variant):
    p = parts(variant)
    model, opt = p["model"], p["optimizer"]
    value = 0.0
    for epoch in range(15):
        model.train()
        running = 0
        for x, y in p["train_loader"]:
            opt.zero_grad(set_to_none=True)
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            running += loss.item()
        value = evaluate(model, p["val_loader"])
        print("epoch", epoch, "loss", round(running / len(p["train_loader"]), 4), "explained", round(value, 4))
    print(f"score: {value:.4f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "bad")
