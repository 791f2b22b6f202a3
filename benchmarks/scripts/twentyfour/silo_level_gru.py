"""GRU that follows the grain level of a silo from its filling and drawing rates; every recording begins at an empty silo. The network keeps its hidden state in self.state and begins the next batch with it, although the next batch holds other recordings, so the level it begins with is that of another silo and the error stays; the right change: begin each batch with a zero state (stateful=False)."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
HOURS = 36


def recordings(n, seed):
    rng = np.random.default_rng(seed)
    trend = rng.normal(0.0, 0.55, (n, 1))
    fill = np.clip(rng.gamma(1.5, 0.7, (n, HOURS)) + np.maximum(trend, 0), 0, 5)
    draw = np.clip(rng.gamma(1.5, 0.5, (n, HOURS)) + np.maximum(-trend, 0), 0, 5)
    level = np.zeros((n, HOURS))
    now = np.zeros(n)
    for t in range(HOURS):
        now = np.maximum(now + fill[:, t] - draw[:, t], 0.0)
        level[:, t] = now
    rates = np.stack([fill, draw], 2) + rng.normal(0, 0.03, (n, HOURS, 2))
    return torch.tensor(rates, dtype=torch.float32), torch.tensor(level / 10.0, dtype=torch.float32)


class LevelNet(nn.Module):
    def __init__(self, hidden=48, stateful=True):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)
        self.stateful = stateful
        self.state = None

    def forward(self, rates):
        if not self.stateful or self.state is None or self.state.size(1) != rates.size(0):
            self.state = torch.zeros(1, rates.size(0), self.gru.hidden_size)
        hs, state = self.gru(rates, self.state)
        self.state = state.detach()
        return self.out(hs).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    train = TensorDataset(*recordings(1280, 10))
    val = TensorDataset(*recordings(320, 11))
    model = LevelNet(stateful=variant == "bad")
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    return dict(model=model, optimizer=optimizer, loss_fn=nn.MSELoss(),
                train_loader=DataLoader(train, batch_size=32, shuffle=True, drop_last=True),
                val_loader=DataLoader(val, batch_size=32))


def explained(model, loader):
    model.eval()
    outs, ys = [], []
    with torch.no_grad():
        for x, y in loader:
            outs.append(model(x))
            ys.append(y)
    out, y = torch.cat(outs), torch.cat(ys)
    return 1 - ((out - y) ** 2).mean().item() / y.var().item()


WORKS = lambda score: score > 0.93


def main(variant):
    p = parts(variant)
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for rates, level in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(rates), level)
            loss.backward()
            opt.step()
            total += loss.item()
        score = explained(model, p["val_loader"])
        print(f"epoch {epoch:2d}  mse {total / len(p['train_loader']):.4f}  val R2 {score:.3f}")
    print("score:", score)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "bad")
