"""Digit-like pollen images (scikit-learn digits) classified by an MLP with a hand-written Adan optimizer (Nesterov momentum from gradient differences, decoupled decay). Unusual: an own torch.optim.Optimizer with three moving averages; it needs a rate larger than Adam's."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


class Adan(torch.optim.Optimizer):
    """Xie et al. 2022; betas are the weights of the NEW value, as in the paper"""
    def __init__(self, params, lr=3e-3, betas=(0.02, 0.08, 0.01), eps=1e-8, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            b1, b2, b3 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                g, st = p.grad, self.state[p]
                if not st:
                    st["t"] = 0
                    st["m"], st["v"], st["n"] = (torch.zeros_like(p) for _ in range(3))
                    st["prev"] = g.clone()
                st["t"] += 1
                diff = g - st["prev"]
                st["m"].lerp_(g, b1)
                st["v"].lerp_(diff, b2)
                look = g + (1 - b2) * diff
                st["n"].mul_(1 - b3).addcmul_(look, look, value=b3)
                c1, c2, c3 = (1 - (1 - b) ** st["t"] for b in (b1, b2, b3))
                denom = (st["n"] / c3).sqrt().add_(group["eps"])
                update = (st["m"] / c1 + (1 - b2) * st["v"] / c2) / denom
                p.sub_(group["lr"] * update).div_(1 + group["lr"] * group["weight_decay"])
                st["prev"].copy_(g)
        return loss


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    X = torch.tensor(d.data, dtype=torch.float32)
    y = torch.tensor(d.target)
    order = torch.randperm(len(X))
    tr, va = order[:1300], order[1300:]
    X = (X - X[tr].mean()) / X[tr].std()
    model = nn.Sequential(nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 10))
    return {"model": model, "optimizer": Adan(model.parameters(), lr=3e-3, weight_decay=0.02), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(X[tr], y[tr]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[va], y[va]), batch_size=250),
            "metric": lambda out, t: (out.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        net.train()
        total = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1}: {total / len(p['train_loader']):.4f}")
    net.eval()
    with torch.no_grad():
        hits = torch.cat([net(x).argmax(1) == y for x, y in p["val_loader"]])
    print("score:", hits.float().mean().item())
