"""Regression of the sugar content of beets from 24 readings, with magnitude pruning by torch's masks to ninety per cent of zeros in steps between epochs five and twenty; Adagrad, Huber loss, one cut per epoch."""
import sys
import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset


def beets(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 24, generator=g)
    y = 1.2 * x[:, 0] + torch.sin(2 * x[:, 1]) + x[:, 2] * x[:, 3] * 0.8 + 0.6 * x[:, 4].abs() + 0.1 * torch.randn(n, generator=g)
    return x, y.unsqueeze(1)


def linears(model):
    return [(m, "weight") for m in model if isinstance(m, nn.Linear)]


def sparsity(model):
    masks = [m.weight_mask for m, _ in linears(model)]
    return 1 - sum(k.sum().item() for k in masks) / sum(k.numel() for k in masks)


class Pruner:
    """cubic schedule of the wanted share of zeros, counted in batches."""

    def __init__(self, model, start, end, every, final):
        self.model, self.start, self.end, self.every, self.final = model, start, end, every, final
        self.batches = 0
        for module, name in linears(model):
            prune.identity(module, name)

    def after_batch(self):
        self.batches += 1
        if self.start <= self.batches <= self.end and self.batches % self.every == 0:
            t = (self.batches - self.start) / (self.end - self.start)
            wanted = self.final * (1 - (1 - t) ** 3)
            total = sum(m.weight_mask.numel() for m, _ in linears(self.model))
            kept = sum(int(m.weight_mask.sum()) for m, _ in linears(self.model))
            amount = kept - round((1 - wanted) * total)
            if amount > 0:
                sizes = {(m, name): m.weight_orig.detach() for m, name in linears(self.model)}
                prune.global_unstructured(linears(self.model), pruning_method=prune.L1Unstructured, importance_scores=sizes, amount=amount)


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))
    train_loader = DataLoader(TensorDataset(*beets(5000, 1)), batch_size=50, shuffle=True)
    per_epoch = len(train_loader)
    pruner = Pruner(model, 5 * per_epoch, 20 * per_epoch, per_epoch, 0.9)
    criterion = nn.HuberLoss(delta=1.0)

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        pruner.after_batch()
        return loss.detach()

    # the masks are hung in before the optimizer takes the parameters
    return {"model": model, "optimizer": torch.optim.Adagrad(model.parameters(), lr=0.02), "step": step, "train_loader": train_loader,
            "val_loader": DataLoader(TensorDataset(*beets(1000, 2)), batch_size=1000)}


# explained share of the variance
WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(35):
        model.train()
        total = sum(p["step"](model, batch, opt).item() for batch in p["train_loader"])
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = 1 - ((model(x) - y).pow(2).mean() / y.var(unbiased=False)).item()
        print(f"epoch {epoch} zeros {sparsity(model):.2f} loss {total / len(p['train_loader']):.4f} val R2 {score:.4f}")
    print(f"score: {score:.4f}")
