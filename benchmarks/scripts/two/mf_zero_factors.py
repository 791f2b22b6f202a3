"""Matrix-factorisation recommender with biases: user and item factors both start at zero, a saddle where neither gets a gradient, so only the biases learn; change: small random factors."""
import sys, numpy as np, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

N_USERS, N_ITEMS, K = 200, 120, 4

def ratings(seed=0):
    r = np.random.default_rng(seed)
    P, Q = r.normal(size=(N_USERS, K)), r.normal(size=(N_ITEMS, K))
    bu, bi = 0.3 * r.normal(size=N_USERS), 0.3 * r.normal(size=N_ITEMS)
    u, i = r.integers(0, N_USERS, 14000), r.integers(0, N_ITEMS, 14000)
    y = 3.5 + bu[u] + bi[i] + 0.6 * (P[u] * Q[i]).sum(1) + 0.2 * r.normal(size=len(u))
    return torch.tensor(u), torch.tensor(i), torch.tensor(y, dtype=torch.float32)

class BiasedMF(nn.Module):
    def __init__(self, k=8, mean=3.5):
        super().__init__()
        self.user_factors, self.item_factors = nn.Embedding(N_USERS, k), nn.Embedding(N_ITEMS, k)
        self.user_bias, self.item_bias = nn.Embedding(N_USERS, 1), nn.Embedding(N_ITEMS, 1)
        self.register_buffer("mean", torch.tensor(mean))
        for emb in (self.user_factors, self.item_factors, self.user_bias, self.item_bias):
            nn.init.zeros_(emb.weight)
    def forward(self, pairs):
        u, i = pairs[:, 0], pairs[:, 1]
        dot = (self.user_factors(u) * self.item_factors(i)).sum(1)
        return self.mean + self.user_bias(u).squeeze(1) + self.item_bias(i).squeeze(1) + dot

def parts(variant):
    torch.manual_seed(0)
    u, i, y = ratings(); x = torch.stack([u, i], 1)
    m = BiasedMF()
    if variant == "fixed":
        nn.init.normal_(m.user_factors.weight, std=0.1); nn.init.normal_(m.item_factors.weight, std=0.1)
    return {"model": m, "loss_fn": nn.MSELoss(), "optimizer": torch.optim.Adam(m.parameters(), lr=0.01, weight_decay=1e-5),
            "train_loader": DataLoader(TensorDataset(x[:12000], y[:12000]), 128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[12000:], y[12000:]), 500)}

WORKS = lambda score: score > 0.6     # R2 on held-out ratings

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    m, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for ep in range(20):
        s = 0
        for x, y in p["train_loader"]:
            opt.zero_grad(); loss = crit(m(x), y); loss.backward(); opt.step(); s += loss.item() * len(y)
        if ep % 5 == 4: print("epoch", ep + 1, "rmse", (s / 12000) ** 0.5)
    with torch.no_grad():
        yh = torch.cat([m(x) for x, _ in p["val_loader"]]); y = torch.cat([y for _, y in p["val_loader"]])
    print("score:", (1 - ((y - yh) ** 2).mean() / y.var()).item())
