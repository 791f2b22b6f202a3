"""Spice blends factored into non-negative recipes and amounts; after each step the factors are clamped at zero (projected gradient); unusual: there is no network, no bias, every weight is at least zero and a good part sits exactly on zero."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
BLENDS, SPICES, RECIPES = 800, 60, 8


class Shelf(Dataset):
    def __init__(self):
        rng = np.random.default_rng(3)
        recipe = rng.gamma(1, 1, (RECIPES, SPICES)) * (rng.random((RECIPES, SPICES)) < 0.3)
        amount = rng.gamma(1, 1, (BLENDS, RECIPES)) * (rng.random((BLENDS, RECIPES)) < 0.4)
        self.clean = torch.tensor(amount @ recipe, dtype=torch.float32)
        self.noisy = (self.clean + 0.2 * torch.tensor(rng.normal(size=self.clean.shape), dtype=torch.float32)).clamp(min=0)

    def __len__(self):
        return BLENDS

    def __getitem__(self, i):
        return i, self.noisy[i]


class Factors(nn.Module):
    def __init__(self):
        super().__init__()
        self.amount = nn.Embedding(BLENDS, RECIPES)
        self.recipe = nn.Parameter(torch.rand(RECIPES, SPICES) * 0.5)
        nn.init.uniform_(self.amount.weight, 0, 1)

    def forward(self, rows):
        return self.amount(rows) @ self.recipe


def step(model, batch, optimizer):
    rows, x = batch
    optimizer.zero_grad()
    loss = ((model(rows) - x) ** 2).sum(1).mean()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for p in model.parameters():
            p.clamp_(min=0)
    return loss


def parts(variant):
    torch.manual_seed(3)
    model = Factors()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=0.02), "step": step,
            "train_loader": DataLoader(Shelf(), batch_size=100, shuffle=True)}


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, clean = p["model"], p["train_loader"].dataset.clean
    for epoch in range(200):
        losses = [step(model, b, p["optimizer"]).item() for b in p["train_loader"]]
        if epoch % 20 == 19:
            zeros = (model.recipe == 0).float().mean().item()
            print(f"epoch {epoch + 1} loss {np.mean(losses):.3f} zeros in recipes {zeros:.2f}")
    with torch.no_grad():
        fit = model(torch.arange(BLENDS))
        explained = 1 - ((fit - clean) ** 2).sum() / ((clean - clean.mean(0)) ** 2).sum()
    print("score:", explained.item())
