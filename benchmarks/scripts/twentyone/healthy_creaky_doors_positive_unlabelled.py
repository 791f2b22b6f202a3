"""Positive-unlabelled learning with the non-negative risk estimator: only some creaking doors are labelled, the rest is a mixture; where the estimated negative risk drops below zero its gradient is turned round."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PRIOR = 0.4


def recordings(n, positive, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 16, generator=g)
    kind = torch.randint(0, 2, (n, 1), generator=g).float() * 2 - 1
    centre = torch.zeros(n, 16)
    centre[:, :4] = torch.where(positive.unsqueeze(1) > 0, 1.6 * kind, torch.zeros(n, 1))
    centre[:, 4:8] = torch.where(positive.unsqueeze(1) > 0, torch.zeros(n, 1), 1.2 * kind)
    return x + centre


def unlabelled_pool(n, seed):
    g = torch.Generator().manual_seed(seed + 1000)
    truth = (torch.rand(n, generator=g) < PRIOR).float()
    return recordings(n, truth, seed), truth


def sigmoid_loss(z):
    return torch.sigmoid(-z)


def nn_pu_risk(model, batch, beta=0.0):
    positive, unlabelled = batch[:2]
    zp, zu = model(torch.cat([positive, unlabelled])).squeeze(1).split([len(positive), len(unlabelled)])
    positive_risk = PRIOR * sigmoid_loss(zp).mean()
    negative_risk = sigmoid_loss(-zu).mean() - PRIOR * sigmoid_loss(-zp).mean()
    if negative_risk.item() < -beta:
        return -negative_risk
    return positive_risk + negative_risk


def paired(batch):
    positive, *rest = zip(*batch)
    return (torch.stack(positive), *(torch.cat(column) for column in rest))


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 1))
    n = 800
    positive = recordings(n, torch.ones(n), 1)
    pool, _ = unlabelled_pool(5 * n, 2)
    xv, truth = unlabelled_pool(2000, 3)
    val = TensorDataset(recordings(400, torch.ones(400), 4), xv.view(400, 5, 16), truth.view(400, 5))
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-4, weight_decay=5e-3),
        "training_step": nn_pu_risk,
        "train_loader": DataLoader(TensorDataset(positive, pool.view(n, 5, 16)), batch_size=80, shuffle=True, collate_fn=paired),
        "val_loader": DataLoader(val, batch_size=400, collate_fn=paired),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(60):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            _, x, truth = next(iter(p["val_loader"]))
            score = ((model(x).squeeze(1) > 0).float() == truth).float().mean().item()
        if epoch % 3 == 2:
            print(f"epoch {epoch} risk {total / len(p['train_loader']):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
