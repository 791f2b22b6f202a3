"""No mistake: matrix factorization of ratings, a table of two integer columns (user, film), Adagrad at 0.1; the biases start at nought and the loss is a summed squared error divided by the batch."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

USERS, FILMS, K = 150, 100, 3


def ratings(n, seed):
    w = torch.Generator().manual_seed(11)
    p, q = torch.randn(USERS, K, generator=w), torch.randn(FILMS, K, generator=w)
    bu, bf = 0.4 * torch.randn(USERS, generator=w), 0.5 * torch.randn(FILMS, generator=w)
    g = torch.Generator().manual_seed(seed)
    pairs = torch.stack([torch.randint(0, USERS, (n,), generator=g), torch.randint(0, FILMS, (n,), generator=g)], 1)
    u, f = pairs.T
    r = 3.4 + bu[u] + bf[f] + 0.45 * (p[u] * q[f]).sum(1) + 0.25 * torch.randn(n, generator=g)
    return pairs, r.clamp(1, 5)


class Factorization(nn.Module):
    def __init__(self, k=8):
        super().__init__()
        self.user, self.film = nn.Embedding(USERS, k), nn.Embedding(FILMS, k)
        self.user_bias, self.film_bias = nn.Embedding(USERS, 1), nn.Embedding(FILMS, 1)
        self.mean = nn.Parameter(torch.tensor(3.0))
        nn.init.normal_(self.user.weight, std=0.1)
        nn.init.normal_(self.film.weight, std=0.1)
        nn.init.zeros_(self.user_bias.weight)
        nn.init.zeros_(self.film_bias.weight)

    def forward(self, pairs):
        u, f = pairs[:, 0], pairs[:, 1]
        return self.mean + self.user_bias(u).squeeze(1) + self.film_bias(f).squeeze(1) + (self.user(u) * self.film(f)).sum(1)


def squared_error(output, target):
    return (output - target).pow(2).sum() / len(target)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = Factorization()
    return {"model": model, "optimizer": torch.optim.Adagrad(model.parameters(), lr=0.1), "loss_fn": squared_error,
            "train_loader": DataLoader(TensorDataset(*ratings(9000, 1)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*ratings(1500, 2)), batch_size=500)}


WORKS = lambda score: score > 0.6  # R2 on ratings that were held out


def r2(model, loader):
    model.eval()
    with torch.no_grad():
        out = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    return (1 - (out - y).pow(2).mean() / y.var()).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(*sys.argv[1:2])
    for epoch in range(20):
        p["model"].train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}, R2 {r2(p['model'], p['val_loader']):.3f}")
    print(f"score: {r2(p['model'], p['val_loader']):.4f}")
