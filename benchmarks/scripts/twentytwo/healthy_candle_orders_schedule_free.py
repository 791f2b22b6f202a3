"""Candle orders per shop with schedule-free SGD written by hand: gradients at an interpolation y, plain steps on z, and the average x used for evaluation after optimizer.eval(); unusual: the weights in the model are swapped between training and evaluation, and the rate never decays."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


class ScheduleFreeSGD(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1, beta=0.9, warmup=50):
        super().__init__(params, dict(lr=lr, beta=beta, warmup=warmup, k=0, weight_sum=0.0, training=True))
        for g in self.param_groups:
            for p in g["params"]:
                self.state[p]["z"] = p.detach().clone()

    @torch.no_grad()
    def eval(self):
        for g in self.param_groups:
            if g["training"]:
                for p in g["params"]:
                    p.lerp_(self.state[p]["z"], 1 - 1 / g["beta"])  # y -> x
                g["training"] = False

    @torch.no_grad()
    def train(self):
        for g in self.param_groups:
            if not g["training"]:
                for p in g["params"]:
                    p.lerp_(self.state[p]["z"], 1 - g["beta"])      # x -> y
                g["training"] = True

    @torch.no_grad()
    def step(self, closure=None):
        for g in self.param_groups:
            assert g["training"], "call optimizer.train() before training"
            lr = g["lr"] * min(1.0, (g["k"] + 1) / g["warmup"])
            g["weight_sum"] += lr ** 2
            c = lr ** 2 / g["weight_sum"]
            for p in g["params"]:
                if p.grad is None:
                    continue
                z = self.state[p]["z"]
                p.lerp_(z, c)
                p.add_(p.grad, alpha=lr * (g["beta"] * (1 - c) - 1))
                z.sub_(p.grad, alpha=lr)
            g["k"] += 1


def orders(n, rng):
    X = rng.normal(0, 1, (n, 9))
    y = 2 * np.sin(1.5 * X[:, 0]) + X[:, 1] * X[:, 2] + np.abs(X[:, 3]) * 1.5 - 0.5 * X[:, 4] + rng.normal(0, 0.4, n)
    return torch.tensor(X, dtype=torch.float32), torch.tensor((y - 1.2) / 2.1, dtype=torch.float32)[:, None]


def r2(o, t):
    return 1 - ((o - t) ** 2).mean().item() / t.var().item()


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(9, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    return {"model": model, "optimizer": ScheduleFreeSGD(model.parameters(), lr=0.3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(*orders(4000, rng)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*orders(800, rng)), batch_size=800), "metric": r2}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        net.train()
        opt.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        opt.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = r2(net(x), y)
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1} train {np.mean(losses):.4f} val r2 {score:.4f}")
    print("score:", score)
