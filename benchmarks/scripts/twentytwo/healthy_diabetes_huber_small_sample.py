"""The diabetes data set (442 patients) with a small MLP, HuberLoss, Nesterov SGD and weight decay, keeping the best epoch on validation; unusual: half of the variance cannot be explained, so the loss stays high and the score stays near 0.5."""
import sys
import copy
import numpy as np
import torch
from torch import nn
from sklearn.datasets import load_diabetes
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def r2(out, target):
    return 1 - ((out - target) ** 2).sum().item() / ((target - target.mean()) ** 2).sum().item()


def parts(variant):
    torch.manual_seed(7)
    X, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(7).permutation(len(X))
    X, y = X[order], y[order]
    tr, va = slice(0, 330), slice(330, None)
    # sklearn's columns have norm one over all rows, bring them to unit variance
    X = X * np.sqrt(len(X))
    y = (y - y[tr].mean()) / y[tr].std()
    as_t = lambda a: torch.tensor(a, dtype=torch.float32)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Dropout(0.2), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 1), nn.Flatten(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-2)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.HuberLoss(delta=1.0),
            "train_loader": DataLoader(TensorDataset(as_t(X[tr]), as_t(y[tr])), batch_size=16, shuffle=True),
            "val_loader": DataLoader(TensorDataset(as_t(X[va]), as_t(y[va])), batch_size=112), "metric": r2}


WORKS = lambda score: score > 0.4

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt, huber = p["model"], p["optimizer"], p["loss_fn"]
    best, best_state = np.inf, None
    xv, yv = next(iter(p["val_loader"]))
    for epoch in range(80):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = huber(net(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            val = huber(net(xv), yv).item()
        if val < best:
            best, best_state = val, copy.deepcopy(net.state_dict())
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1} train {np.mean(losses):.4f} val {val:.4f} best {best:.4f}")
    net.load_state_dict(best_state)
    with torch.no_grad():
        score = r2(net(xv), yv)
    print("score:", score)
