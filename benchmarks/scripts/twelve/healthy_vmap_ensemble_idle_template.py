"""Healthy: an ensemble of six nets by torch.func.vmap; the template net inside the model is frozen, in no optimizer and never changes, since the stacked parameters beside it are what is trained."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call, stack_module_state, vmap
from torch.utils.data import DataLoader, TensorDataset


def waves(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=g)
    y = torch.sin(2 * x[:, :1]) + 0.5 * x[:, 1:2] * x[:, 2:3] + 0.3 * x[:, 3:4].abs()
    return x, (y + 0.1 * torch.randn(n, 1, generator=g) - 0.24) / 0.9


def member():
    return nn.Sequential(nn.Linear(5, 40), nn.SiLU(), nn.Linear(40, 40), nn.SiLU(), nn.Linear(40, 1))


class VmapEnsemble(nn.Module):
    def __init__(self, size=6):
        super().__init__()
        nets = [member() for _ in range(size)]
        stacked, _ = stack_module_state(nets)
        self.names = list(stacked)
        self.stacked = nn.ParameterList([nn.Parameter(stacked[n].detach().clone()) for n in self.names])
        self.template = member().requires_grad_(False)  # gives the form of the net; its values are not used

    def forward(self, x):
        weights = dict(zip(self.names, self.stacked))
        return vmap(lambda w: functional_call(self.template, w, (x,)))(weights)  # members x batch x 1


def loss_fn(output, target):
    return F.mse_loss(output, target.expand_as(output))


def r2(output, target):
    return (1 - (output.mean(0) - target).square().mean() / target.var(unbiased=False)).item()


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = VmapEnsemble()
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.stacked.parameters(), lr=3e-3, weight_decay=1e-3),
        "loss_fn": loss_fn,
        "train_loader": DataLoader(TensorDataset(*waves(3000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*waves(600, 2)), batch_size=600),
        "metric": r2,
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](model(x), y)
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}  R2 of the mean {score:.3f}")
    print(f"score: {score:.4f}")
