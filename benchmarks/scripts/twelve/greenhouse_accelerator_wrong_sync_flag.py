"""Yield of greenhouse plots from a table, trained by a small Trainer of our own with gradient accumulation; it steps where (step + 1) % accumulate == 0, but `step` is a counter that is raised only after an update, so no update ever comes; change: the counter of micro batches is raised for each batch."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def plots(n, seed):
    g = torch.Generator().manual_seed(seed)
    light, heat, water, co2, salt = torch.rand(5, n, generator=g)
    y = 3 * light * (1 - (heat - 0.6) ** 2 * 4) * torch.tanh(3 * water) + co2 * light - 1.5 * torch.relu(salt - 0.5)
    y = y + 0.05 * torch.randn(n, generator=g)
    x = torch.stack([light, heat, water, co2, salt], 1)
    return (x - 0.5) / 0.2887, ((y - 1.3) / 0.9).unsqueeze(1)


class Trainer:
    """Holds what a run needs to know; one call of `micro_step` for each batch."""

    def __init__(self, accumulate, count_updates_only):
        self.accumulate = accumulate
        self.count_updates_only = count_updates_only
        self.global_step = 0

    @property
    def sync_gradients(self):
        return (self.global_step + 1) % self.accumulate == 0

    def micro_step(self, model, batch, optimizer):
        x, y = batch
        loss = nn.functional.mse_loss(model(x), y)
        (loss / self.accumulate).backward()
        if self.sync_gradients:
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad()
            if self.count_updates_only:
                self.global_step += 1
        if not self.count_updates_only:
            self.global_step += 1
        return loss.detach()


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    trainer = Trainer(accumulate=2, count_updates_only=variant == "bad")
    return {
        "model": model,
        "optimizer": torch.optim.NAdam(model.parameters(), lr=3e-3),
        "train_loader": DataLoader(TensorDataset(*plots(3000, 1)), batch_size=32, shuffle=True, drop_last=True),
        "val_loader": DataLoader(TensorDataset(*plots(600, 2)), batch_size=200),
        "loss_fn": nn.functional.mse_loss,
        "step": trainer.micro_step,
    }


def r2(model, loader):
    model.eval()
    with torch.no_grad():
        out, y = map(torch.cat, zip(*[(model(x), y) for x, y in loader]))
    model.train()
    return 1 - ((out - y) ** 2).mean().item() / y.var().item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        total = 0.0
        for batch in p["train_loader"]:
            total += p["step"](model, batch, p["optimizer"]).item()
        print(f"epoch {epoch + 1}: train mse {total / len(p['train_loader']):.4f}, R2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
