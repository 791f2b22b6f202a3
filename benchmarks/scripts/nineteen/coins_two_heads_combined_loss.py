"""Network with a shared body that predicts a coin's weight and its mint (6 classes); in the sum of the losses the classification loss enters with .item(), so it counts in the printed loss and trains nothing. change: leave .item() off."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def coins(n, seed):
    r = np.random.RandomState(seed)
    proto = np.random.RandomState(42).normal(0, 1, (6, 14))
    mint = r.randint(0, 6, n)
    X = proto[mint] + r.normal(0, 0.8, (n, 14))
    weight = np.sin(X[:, 0]) + 0.5 * X[:, 1] * X[:, 2] / 2 + 0.3 * X[:, 3] + r.normal(0, 0.1, n)
    f = lambda a: torch.tensor(a, dtype=torch.float32)
    return TensorDataset(f(X), f(weight), torch.tensor(mint))


class CoinNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(14, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.weight_head = nn.Linear(64, 1)
        self.mint_head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 6))

    def forward(self, x):
        h = self.shared(x)
        return self.weight_head(h).squeeze(1), self.mint_head(h)


def make_training_step(variant):
    mse, ce = nn.MSELoss(), nn.CrossEntropyLoss()

    def training_step(model, batch):
        x, weight, mint = batch
        pred_weight, pred_mint = model(x)
        loss_weight, loss_mint = mse(pred_weight, weight), ce(pred_mint, mint)
        if variant == "bad":
            return loss_weight + loss_mint.item()
        return loss_weight + loss_mint

    return training_step


def parts(variant):
    torch.manual_seed(0)
    model = CoinNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": make_training_step(variant),
            "train_loader": DataLoader(coins(3000, 0), batch_size=64, shuffle=True),
            "val_loader": DataLoader(coins(600, 1), batch_size=200)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        net.train()
        total = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](net, batch)
            loss.backward()
            opt.step()
            total.append(loss.item())
        net.eval()
        with torch.no_grad():
            errs, hits = zip(*[(((net(x)[0] - w) ** 2).mean().item(), (net(x)[1].argmax(1) == m).float().mean().item())
                               for x, w, m in p["val_loader"]])
        print(f"epoch {epoch}: loss {np.mean(total):.4f} val weight mse {np.mean(errs):.4f} mint acc {np.mean(hits):.4f}")
    score = np.mean(hits)
    print(f"score: {score:.4f}")
