"""Film ratings by matrix factorisation: the weights themselves are bfloat16, so Adam's small updates are rounded away; change: float32 weights, bfloat16 only by autocast."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

USERS, FILMS = 300, 150


def ratings(n, seed):
    world = torch.Generator().manual_seed(2024)
    taste = torch.randn(USERS, 3, generator=world)
    style = torch.randn(FILMS, 3, generator=world)
    kindness = 0.5 * torch.randn(USERS, generator=world)
    g = torch.Generator().manual_seed(seed)
    u = torch.randint(0, USERS, (n,), generator=g)
    f = torch.randint(0, FILMS, (n,), generator=g)
    r = (taste[u] * style[f]).sum(1) / 1.7 + kindness[u] + 0.2 * torch.randn(n, generator=g)
    return TensorDataset(torch.stack([u, f], 1), r)


class Factors(nn.Module):
    def __init__(self, k=4):
        super().__init__()
        self.user = nn.Embedding(USERS, k)
        self.film = nn.Embedding(FILMS, k)
        self.user_bias = nn.Embedding(USERS, 1)
        nn.init.zeros_(self.user_bias.weight)

    def forward(self, pair):
        u, f = pair[:, 0], pair[:, 1]
        return (self.user(u) * self.film(f)).sum(1) + self.user_bias(u).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = Factors()
    if variant == "bad":
        model = model.to(torch.bfloat16)

    def training_step(model, batch):
        pair, r = batch
        with torch.autocast("cpu", dtype=torch.bfloat16):
            pred = model(pair)
        return nn.functional.mse_loss(pred.float(), r)

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "training_step": training_step,
            "loss_fn": lambda out, r: nn.functional.mse_loss(out.float(), r),
            "train_loader": DataLoader(ratings(16000, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(ratings(3000, 2), batch_size=500)}


WORKS = lambda score: score > 0.6


def r_squared(model, loader):
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(x).float() for x, _ in loader])
    true = torch.cat([r for _, r in loader])
    return (1 - (pred - true).pow(2).mean() / true.var()).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        model.train()
        total = 0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: mse {total / len(p['train_loader']):.4f}, val R2 {r_squared(model, p['val_loader']):.3f}")
    print(f"score: {r_squared(model, p['val_loader']):.4f}")
