"""Matrix factorisation of movie ratings whose factors start from a given table; bad: nn.Embedding.from_pretrained keeps them frozen (freeze=True is its default), only the biases learn; change: freeze=False."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

USERS, MOVIES, RANK = 200, 150, 8


def ratings(n=16000):
    g = torch.Generator().manual_seed(11)
    taste, genre = torch.randn(USERS, 3, generator=g), torch.randn(MOVIES, 3, generator=g)
    harsh, liked = 0.3 * torch.randn(USERS, generator=g), 0.3 * torch.randn(MOVIES, generator=g)
    cell = torch.randperm(USERS * MOVIES, generator=g)[:n]
    u, m = cell // MOVIES, cell % MOVIES
    r = 3.0 + harsh[u] + liked[m] + 0.6 * (taste[u] * genre[m]).sum(1) + 0.3 * torch.randn(n, generator=g)
    return torch.stack([u, m], 1), r


class Factorisation(nn.Module):
    def __init__(self, user_init, movie_init, **options):
        super().__init__()
        self.user = nn.Embedding.from_pretrained(user_init, **options)
        self.movie = nn.Embedding.from_pretrained(movie_init, **options)
        self.user_bias = nn.Embedding(USERS, 1)
        self.movie_bias = nn.Embedding(MOVIES, 1)
        nn.init.zeros_(self.user_bias.weight)
        nn.init.zeros_(self.movie_bias.weight)
        self.mean = nn.Parameter(torch.tensor(3.0))

    def forward(self, ids):
        u, m = ids[:, 0], ids[:, 1]
        dot = (self.user(u) * self.movie(m)).sum(1)
        return self.mean + dot + self.user_bias(u).squeeze(1) + self.movie_bias(m).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    ids, r = ratings()
    options = {} if variant == "bad" else {"freeze": False}
    model = Factorisation(0.3 * torch.randn(USERS, RANK), 0.3 * torch.randn(MOVIES, RANK), **options)
    return {"model": model, "loss_fn": nn.MSELoss(),
            "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5),
            "train_loader": DataLoader(TensorDataset(ids[:13000], r[:13000]), batch_size=128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(ids[13000:], r[13000:]), batch_size=500)}


WORKS = lambda score: score > 0.6


def r2(model, loader):
    model.eval()
    with torch.no_grad():
        out = [(model(i), r) for i, r in loader]
    pred, true = (torch.cat(z) for z in zip(*out))
    return (1 - (pred - true).pow(2).sum() / (true - true.mean()).pow(2).sum()).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        p["model"].train()
        s = 0.0
        for ids, r in p["train_loader"]:
            loss = p["loss_fn"](p["model"](ids), r)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            s += loss.item() * len(r)
        score = r2(p["model"], p["val_loader"])
        print(f"epoch {epoch}: train {s / 13000:.4f} val R2 {score:.4f}")
    print(f"score: {score:.4f}")
