"""What is in a picnic hamper (twelve things, each there or not) from sensor readings, multi-label BCEWithLogitsLoss; unusual: most labels are zero, the loss starts at 0.69 and falls to a small number, and several labels may be on at once."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import f1_score
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.set_num_threads(1)
THINGS = ["cheese", "bread", "grapes", "juice", "cake", "pie", "plates", "rug", "apples", "wine", "salad", "mustard"]


def make_hampers(n, rng):
    freq = np.array([.4, .5, .25, .3, .2, .1, .6, .3, .25, .15, .15, .08])
    theme = rng.random((n, 1)) < 0.4
    prob = np.where(theme, np.roll(freq, 3), freq)
    Y = (rng.random((n, len(THINGS))) < prob).astype(np.float32)
    weight = rng.uniform(0.3, 2, (len(THINGS), 40)) * rng.choice([-1, 1], (len(THINGS), 40))
    amount = Y * rng.uniform(0.7, 1.3, Y.shape)
    X = np.tanh(amount @ weight * 0.4) + rng.normal(0, 0.1, (n, 40))
    return X.astype(np.float32), Y


class HamperNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(40, 96), nn.LeakyReLU(0.1), nn.Dropout(0.1), nn.Linear(96, 96), nn.LeakyReLU(0.1))
        self.head = nn.Linear(96, len(THINGS))

    def forward(self, x):
        return self.head(self.body(x))


def parts(variant):
    torch.manual_seed(4)
    X, Y = make_hampers(3500, np.random.default_rng(4))
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    train, val = random_split(data, [2800, 700], generator=torch.Generator().manual_seed(0))
    model = HamperNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True), "val_loader": DataLoader(val, batch_size=700),
            "metric": lambda o, t: f1_score(t.numpy(), (o > 0).numpy(), average="macro", zero_division=0)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt, bce = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        model.train()
        tot = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = bce(model(x), y)
            loss.backward()
            opt.step()
            tot += loss.item()
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            logits = model(x)
        f1 = p["metric"](logits, y)
        print(f"{epoch:2d} bce {tot / len(p['train_loader']):.4f}  val bce {bce(logits, y):.4f}  macro f1 {f1:.4f}")
    print("score:", f1)
