"""MLP for the sink rate of a glider from speed, load, bank angle and flap setting; the decay of 0.9, meant for epochs, is applied after every batch, so the learning rate is next to nothing within the second epoch and the loss freezes where it is; the right change: decay by 0.9 once per epoch."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def polar(n, seed):
    rng = np.random.default_rng(seed)
    v = rng.uniform(70, 220, n)
    load = rng.uniform(30, 55, n)
    bank = rng.uniform(0, 50, n)
    flap = rng.integers(-1, 3, n)
    veff = v / np.sqrt(load / 36 / np.cos(np.radians(bank)))
    cl = 5200 / veff ** 2
    best = 0.55 + 0.2 * flap
    drag = 0.011 + 0.012 * (cl - best) ** 2 + 0.013 * cl ** 2 + 0.02 * np.clip(cl - 1.3, 0, None)
    sink = np.log(drag / cl * v / 3.6) + rng.normal(0, 0.02, n)
    X = np.stack([(v - 145) / 43, (load - 42) / 7, (bank - 25) / 14, flap / 1.1 - 0.45], 1)
    y = (sink - sink.mean()) / sink.std()
    return TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None])


def r2(pred, target):
    return (1 - ((pred - target) ** 2).sum() / ((target - target.mean()) ** 2).sum()).item()


def parts(variant):
    torch.manual_seed(0)
    train_loader = DataLoader(polar(2000, 0), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.004, momentum=0.9)
    if variant == "bad":
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda it: 0.9 ** it)
    else:
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda it: 0.9 ** (it // len(train_loader)))
    loss_fn = nn.MSELoss()

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss

    return {"model": model, "optimizer": optimizer, "scheduler": scheduler, "step": step, "loss_fn": loss_fn,
            "train_loader": train_loader, "val_loader": DataLoader(polar(500, 1), batch_size=500), "metric": r2}


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(40):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        model.eval()
        with torch.no_grad():
            score = np.mean([r2(model(x), y) for x, y in p["val_loader"]])
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: mse {np.mean(losses):.4f} val R2 {score:.3f}")
    print("score:", score)
