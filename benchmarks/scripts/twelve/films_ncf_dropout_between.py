"""Ratings of films by neural collaborative filtering (user and film vectors joined, two linear layers), AdamW with sampled batches; between the layers stands nothing but dropout, so the prediction is a user's number plus a film's number and tastes cannot meet; change: ReLU before the dropout."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F

USERS, FILMS, BATCH = 300, 200, 256


def ratings(n, seed):
    w = torch.Generator().manual_seed(11)
    taste = torch.randn(USERS, 2, generator=w)
    genre = torch.randn(FILMS, 2, generator=w)
    ub, fb = 0.2 * torch.randn(USERS, generator=w), 0.3 * torch.randn(FILMS, generator=w)
    g = torch.Generator().manual_seed(seed)
    u = torch.randint(0, USERS, (n,), generator=g)
    f = torch.randint(0, FILMS, (n,), generator=g)
    r = (taste[u] * genre[f]).sum(1) + ub[u] + fb[f] + 0.1 * torch.randn(n, generator=g)
    return torch.stack([u, f], 1), r


class NCF(nn.Module):
    def __init__(self, dim=24, hidden=128, p=0.05, with_relu=True):
        super().__init__()
        self.user = nn.Embedding(USERS, dim)
        self.film = nn.Embedding(FILMS, dim)
        nn.init.normal_(self.user.weight, std=0.3)
        nn.init.normal_(self.film.weight, std=0.3)
        self.fc1 = nn.Linear(2 * dim, hidden)
        self.drop = nn.Dropout(p)
        self.fc2 = nn.Linear(hidden, 1)
        self.with_relu = with_relu

    def forward(self, pairs):
        h = torch.cat([self.user(pairs[:, 0]), self.film(pairs[:, 1])], -1)
        h = self.fc1(h)
        if self.with_relu:
            h = F.relu(h)
        h = self.drop(h)
        return self.fc2(h).squeeze(-1)


class Sampled:
    def __init__(self, x, y, steps):
        self.x, self.y, self.steps = x, y, steps

    def __len__(self):
        return self.steps

    def __iter__(self):
        for _ in range(self.steps):
            i = torch.randint(0, len(self.x), (BATCH,))
            yield self.x[i], self.y[i]


def parts(variant):
    torch.manual_seed(0)
    model = NCF(with_relu=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": Sampled(*ratings(30000, 1), steps=150),
        "val_loader": [ratings(3000, 2)],
    }


@torch.no_grad()
def explained(model, loader):
    model.eval()
    (x, y), = loader
    out = 1 - F.mse_loss(model(x), y) / y.var()
    model.train()
    return out.item()


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    step = 0
    for epoch in range(16):
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
        print(f"step {step}: loss {loss.item():.4f}, held-out R2 {explained(model, p['val_loader']):.3f}")
    print(f"score: {explained(model, p['val_loader']):.4f}")
