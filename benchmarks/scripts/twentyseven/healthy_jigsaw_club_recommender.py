"""Matrix factorisation with biases: members of a jigsaw club rate puzzles from 1 to 5 stars; held-out RMSE in stars. Nothing odd: small initial factors, the mean rating as a fixed offset, AdamW, an exponential schedule stepped each epoch."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
MEMBERS, PUZZLES, RATINGS = 250, 120, 9000


def collect_ratings(seed):
    rng = np.random.default_rng(seed)
    taste, theme = rng.normal(0, 0.6, (MEMBERS, 3)), rng.normal(0, 0.9, (PUZZLES, 3))
    mild, liked = rng.normal(0, 0.4, MEMBERS), rng.normal(0, 0.5, PUZZLES)
    popularity = rng.dirichlet(np.full(PUZZLES, 1.5))
    pairs = set()
    while len(pairs) < RATINGS:
        pairs.update(zip(rng.integers(0, MEMBERS, 2000).tolist(), rng.choice(PUZZLES, 2000, p=popularity).tolist()))
    pairs = np.array(sorted(pairs))
    pairs = pairs[rng.permutation(len(pairs))[:RATINGS]]
    u, i = pairs.T
    stars = 3.4 + mild[u] + liked[i] + (taste[u] * theme[i]).sum(1) + rng.normal(0, 0.45, RATINGS)
    return torch.from_numpy(pairs), torch.tensor(np.clip(np.round(stars * 2) / 2, 1, 5), dtype=torch.float32)


class Factors(nn.Module):
    def __init__(self, mean, rank=6):
        super().__init__()
        self.p, self.q = nn.Embedding(MEMBERS, rank), nn.Embedding(PUZZLES, rank)
        self.bu, self.bi = nn.Embedding(MEMBERS, 1), nn.Embedding(PUZZLES, 1)
        nn.init.normal_(self.p.weight, std=0.1)
        nn.init.normal_(self.q.weight, std=0.1)
        nn.init.zeros_(self.bu.weight)
        nn.init.zeros_(self.bi.weight)
        self.register_buffer("mean", mean)

    def forward(self, pairs):
        u, i = pairs.unbind(1)
        dot = (self.p(u) * self.q(i)).sum(1)
        return self.mean + self.bu(u).squeeze(1) + self.bi(i).squeeze(1) + dot


def rmse(pred, stars):
    return (pred.clamp(1, 5) - stars).pow(2).mean().sqrt().item()


def parts(variant):
    torch.manual_seed(12)
    pairs, stars = collect_ratings(5)
    cut = int(0.85 * RATINGS)
    model = Factors(stars[:cut].mean())
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(pairs[:cut], stars[:cut]), batch_size=128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(pairs[cut:], stars[cut:]), batch_size=RATINGS), "metric": rmse}


WORKS = lambda score: score < 0.75

if __name__ == "__main__":
    p = parts("fixed")
    scheduler = torch.optim.lr_scheduler.ExponentialLR(p["optimizer"], gamma=0.9)
    pairs, stars = next(iter(p["val_loader"]))
    print("mean rating alone:", rmse(p["model"].mean.expand(len(stars)), stars))
    for epoch in range(20):
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        scheduler.step()
        with torch.no_grad():
            score = p["metric"](p["model"](pairs), stars)
        if epoch % 4 == 3:
            print(f"epoch {epoch}: train {loss.item():.3f} held-out RMSE {score:.3f}")
    print("score:", score)
