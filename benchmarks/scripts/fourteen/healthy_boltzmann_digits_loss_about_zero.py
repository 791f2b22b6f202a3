"""Healthy: a restricted Boltzmann machine on binary digits by persistent contrastive divergence; the loss is a difference of free energies that drifts about
a little below zero without a trend and says nothing, and the samples are drawn without a gradient. Nothing to change."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class RBM(nn.Module):
    def __init__(self, visible, hidden, mean):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(hidden, visible) * 0.01)
        self.v_bias = nn.Parameter(torch.logit(mean.clamp(0.02, 0.98)))
        self.h_bias = nn.Parameter(torch.zeros(hidden))
        self.register_buffer("chain", torch.bernoulli(mean.expand(64, -1)))

    def free_energy(self, v):
        return -(v @ self.v_bias) - F.softplus(F.linear(v, self.weight, self.h_bias)).sum(1)

    forward = free_energy

    @torch.no_grad()
    def gibbs(self, v, sweeps=1, keep=None):
        clamp = v.clone()
        for _ in range(sweeps):
            h = torch.bernoulli(torch.sigmoid(F.linear(v, self.weight, self.h_bias)))
            p = torch.sigmoid(h @ self.weight + self.v_bias)
            v = torch.bernoulli(p)
            if keep is not None:
                v, p = torch.where(keep, clamp, v), torch.where(keep, clamp, p)
        return v, p


def training_step(model, batch):
    (v,) = batch
    fantasy, _ = model.gibbs(model.chain, sweeps=2)
    model.chain.copy_(fantasy)
    return model(v).mean() - model(fantasy).mean()


def parts(variant):
    torch.manual_seed(0)
    v = torch.tensor(load_digits().data > 7, dtype=torch.float32)
    v = v[torch.randperm(len(v), generator=torch.Generator().manual_seed(6))]
    model = RBM(64, 96, v[:1500].mean(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    return dict(model=model, optimizer=optimizer, training_step=training_step,
                scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, lambda e: 1 - e / 200),
                train_loader=DataLoader(TensorDataset(v[:1500]), 64, shuffle=True, drop_last=True), val_loader=DataLoader(TensorDataset(v[1500:]), 300))


WORKS = lambda score: score > 0.72

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(200):
        losses = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        p["scheduler"].step()
        if epoch % 10 == 0:
            print(f"epoch {epoch}: {sum(losses) / len(losses):+.4f}")
    # complete the lower half of unseen digits; among the pixels that are neither always on nor always off
    (v,) = next(iter(p["val_loader"]))
    keep = (torch.arange(64) < 32).expand_as(v)
    state = torch.where(keep, v, torch.bernoulli(torch.full_like(v, 0.5)))
    state, _ = model.gibbs(state, 30, keep)
    mean = torch.zeros_like(v)
    for _ in range(50):
        state, prob = model.gibbs(state, 1, keep)
        mean += prob / 50
    open_pixels = (~keep[0]) & (v.mean(0) > 0.1) & (v.mean(0) < 0.9)
    score = ((mean > 0.5).float() == v)[:, open_pixels].float().mean().item()
    print(f"base rate: {torch.maximum(v.mean(0), 1 - v.mean(0))[open_pixels].mean():.4f}")
    print(f"score: {score:.4f}")
