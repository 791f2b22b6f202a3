"""Clicks on coupons, logistic regression on 4000 hashed columns, one pass over a stream with FTRL-Proximal; unusual: the weights start at zero and most stay exactly zero (never seen, or held by the L1 term), no example is seen twice, and the loss only falls to the noise of clicking."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, IterableDataset

torch.set_num_threads(1)
BUCKETS = 4000


class ClickStream(IterableDataset):
    """user, coupon and hour hashed into buckets; the most popular values make most of the traffic"""

    def __init__(self, n, seed):
        self.n, self.seed = n, seed
        rng = np.random.default_rng(99)
        self.user_taste = rng.normal(0, 1.2, 300)
        self.coupon_pull = rng.normal(0, 1.5, 120)
        self.hour_pull = 0.8 * np.sin(np.arange(24) / 24 * 2 * np.pi)

    def __iter__(self):
        rng = np.random.default_rng(self.seed)
        for _ in range(self.n):
            u, c, h = int(300 * rng.random() ** 2), int(120 * rng.random() ** 2), rng.integers(0, 24)
            logit = -1.8 + self.user_taste[u] + self.coupon_pull[c] + self.hour_pull[h]
            click = float(rng.random() < 1 / (1 + np.exp(-logit)))
            noise = rng.integers(0, 50)
            ids = [(u * 2654435761) % BUCKETS, (7919 + c * 40503) % BUCKETS, (1543 + h * 7307) % BUCKETS, (311 + noise * 613) % BUCKETS]
            x = torch.zeros(BUCKETS)
            x[ids] = 1.0
            yield x, torch.tensor([click])


class FTRL(torch.optim.Optimizer):
    def __init__(self, params, alpha=0.15, beta=1.0, l1=1.0, l2=0.01):
        super().__init__(params, dict(alpha=alpha, beta=beta, l1=l1, l2=l2))

    @torch.no_grad()
    def step(self, closure=None):
        for g in self.param_groups:
            for w in g["params"]:
                if w.grad is None:
                    continue
                s = self.state[w]
                if not s:
                    s["z"], s["n"] = torch.zeros_like(w), torch.zeros_like(w)
                grad = w.grad
                sigma = ((s["n"] + grad ** 2).sqrt() - s["n"].sqrt()) / g["alpha"]
                s["z"] += grad - sigma * w
                s["n"] += grad ** 2
                shrunk = s["z"].sign() * (s["z"].abs() - g["l1"]).clamp(min=0)
                w.copy_(-shrunk / ((g["beta"] + s["n"].sqrt()) / g["alpha"] + g["l2"]))


def parts(variant):
    torch.manual_seed(0)
    model = nn.Linear(BUCKETS, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    # summed over the batch, as in the paper one example is one gradient
    return {"model": model, "optimizer": FTRL(model.parameters()), "loss_fn": nn.BCEWithLogitsLoss(reduction="sum"),
            "train_loader": DataLoader(ClickStream(24000, 1), batch_size=16),
            "val_loader": DataLoader(ClickStream(4000, 2), batch_size=500)}


WORKS = lambda score: score > 0.78

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    progressive = []
    for i, (x, y) in enumerate(p["train_loader"], 1):
        opt.zero_grad()
        loss = p["loss_fn"](model(x), y)
        loss.backward()
        opt.step()
        progressive.append(loss.item() / len(y))
        if i % 150 == 0:
            print(f"{i * 16:6d} clicks seen, progressive log loss {np.mean(progressive[-150:]):.4f}, "
                  f"non-zero weights {(model.weight != 0).sum().item()} of {BUCKETS}")
    logits, clicks = [], []
    with torch.no_grad():
        for x, y in p["val_loader"]:
            logits.append(model(x))
            clicks.append(y)
    print("score:", roc_auc_score(torch.cat(clicks).numpy().ravel(), torch.cat(logits).numpy().ravel()))
