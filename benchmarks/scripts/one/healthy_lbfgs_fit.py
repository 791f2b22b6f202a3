"""Healthy: small tanh net on the diabetes-like Friedman-3 curve with L-BFGS (closure, strong Wolfe), full batch, learning rate 1; one step holds many evaluations; nothing to change."""
import sys
import torch
from torch import nn
from sklearn.datasets import make_friedman3
from torch.utils.data import DataLoader, TensorDataset


def parts(variant):
    torch.manual_seed(0)
    x, y = make_friedman3(900, noise=0.05, random_state=0)
    x = torch.tensor((x - x[:600].mean(0)) / x[:600].std(0), dtype=torch.float32)
    y = torch.tensor((y - y[:600].mean()) / y[:600].std(), dtype=torch.float32)[:, None]
    net = nn.Sequential(nn.Linear(4, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 1))
    opt = torch.optim.LBFGS(net.parameters(), lr=1.0, max_iter=10, line_search_fn="strong_wolfe")

    def step(model, optimizer, batch):
        x, y = batch

        def closure():
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y) + 1e-4 * sum((w ** 2).sum() for w in model.parameters())
            loss.backward()
            return loss

        return optimizer.step(closure).detach()

    return dict(model=net, optimizer=opt, step=step, train_loader=DataLoader(TensorDataset(x[:600], y[:600]), 600),
                val_loader=DataLoader(TensorDataset(x[600:], y[600:]), 300))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for it in range(25):
        for b in p["train_loader"]:
            l = p["step"](p["model"], p["optimizer"], b)
        if it % 5 == 0: print(it, float(l))
    x, y = next(iter(p["val_loader"]))
    with torch.no_grad():
        print("score:", 1 - ((p["model"](x) - y) ** 2).mean().item() / y.var().item())
