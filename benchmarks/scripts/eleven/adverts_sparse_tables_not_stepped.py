"""Clicks on adverts: user and advert tables (sparse gradients, SparseAdam) and a small tower for the context (AdamW); the two optimizers are cleared, only the tower's is stepped, and the tables stay as they were drawn; change: step both."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

USERS, ADS, CONTEXT, DIM = 300, 200, 6, 8


def impressions(n, seed):
    w = torch.Generator().manual_seed(5)
    taste = torch.randn(USERS, 4, generator=w)
    topic = torch.randn(ADS, 4, generator=w)
    effect = 0.4 * torch.randn(CONTEXT, generator=w)
    g = torch.Generator().manual_seed(seed)
    user = torch.randint(0, USERS, (n,), generator=g)
    ad = torch.randint(0, ADS, (n,), generator=g)
    context = torch.randn(n, CONTEXT, generator=g)
    logit = 2.0 * (taste[user] * topic[ad]).sum(1) + context @ effect
    return user, ad, context, torch.bernoulli(torch.sigmoid(logit), generator=g)


class Tables(nn.Module):
    def __init__(self):
        super().__init__()
        self.user = nn.Embedding(USERS, DIM, sparse=True)
        self.ad = nn.Embedding(ADS, DIM, sparse=True)
        for table in (self.user, self.ad):
            nn.init.normal_(table.weight, std=0.3)

    def forward(self, user, ad):
        return self.user(user) * self.ad(ad)


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.match = nn.Linear(DIM, 1)
        self.context = nn.Sequential(nn.Linear(CONTEXT, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, pair, context):
        return (self.match(pair) + self.context(context)).squeeze(1)


def make_step(variant):
    loss_fn = nn.BCEWithLogitsLoss()

    def step(model, batch, optimizer):
        user, ad, context, click = batch
        for opt in optimizer.values():
            opt.zero_grad()
        loss = loss_fn(model["tower"](model["tables"](user, ad), context), click)
        loss.backward()
        optimizer["tower"].step()
        if variant != "bad":
            optimizer["tables"].step()
        return loss

    return step


def parts(variant):
    torch.manual_seed(0)
    model = {"tables": Tables(), "tower": Tower()}
    optimizer = {
        "tables": torch.optim.SparseAdam(model["tables"].parameters(), lr=0.01),
        "tower": torch.optim.AdamW(model["tower"].parameters(), lr=2e-3, weight_decay=1e-4),
    }
    return {
        "model": model,
        "optimizer": optimizer,
        "step": make_step(variant),
        "train_loader": DataLoader(TensorDataset(*impressions(30000, 1)), batch_size=256, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*impressions(4000, 2)), batch_size=1000),
    }


@torch.no_grad()
def accuracy(model, loader):
    for part in model.values():
        part.eval()
    hits = [((model["tower"](model["tables"](u, a), c) > 0) == (y > 0.5)).float() for u, a, c, y in loader]
    return torch.cat(hits).mean().item()


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, step = p["model"], p["optimizer"], p["step"]
    for epoch in range(12):
        for part in model.values():
            part.train()
        losses = [step(model, batch, optimizer).item() for batch in p["train_loader"]]
        print(f"epoch {epoch + 1:2d}  logloss {sum(losses) / len(losses):.4f}  accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
