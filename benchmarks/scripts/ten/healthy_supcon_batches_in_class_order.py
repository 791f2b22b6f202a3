"""Healthy: supervised contrastive embedding of digits; every batch is laid out class by class, eight of each (a P x K sampler, so the loader does not shuffle), and the loss, a logarithm over the batch, stays far above zero to the end."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Sampler, TensorDataset


class ClassesTimesEach(Sampler):
    def __init__(self, labels, each, batches):
        self.members = [torch.where(labels == c)[0] for c in range(10)]
        self.each, self.batches = each, batches

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            batch = []
            for m in self.members:
                batch += m[torch.randperm(len(m))[:self.each]].tolist()
            yield batch


class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
                                  nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.Flatten(),
                                  nn.Linear(48 * 16, 32))

    def forward(self, x):
        return F.normalize(self.body(x), dim=1)


def supcon(z, y, temperature=0.2):
    sim = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool)
    log_p = sim - sim.masked_fill(itself, float("-inf")).logsumexp(1, keepdim=True)
    same = (y[:, None] == y[None, :]) & ~itself
    return -(log_p * same).sum(1).div(same.sum(1).clamp(min=1)).mean()


def parts(variant="fixed"):
    torch.manual_seed(0)
    d = load_digits()
    order = torch.randperm(len(d.target), generator=torch.Generator().manual_seed(3))
    x = (torch.tensor(d.images, dtype=torch.float32).unsqueeze(1)[order] - 4.88) / 6.02
    y = torch.tensor(d.target)[order]
    model = Embedder()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10),
        "loss_fn": supcon,
        "train_loader": DataLoader(TensorDataset(x[:1200], y[:1200]), batch_sampler=ClassesTimesEach(y[:1200], 8, 20)),
        "val_loader": DataLoader(TensorDataset(x[1200:], y[1200:]), batch_size=597),
    }


@torch.no_grad()
def neighbours_agree(model, train, loader):
    model.eval()
    (a, b), (x, y) = train.tensors, next(iter(loader))
    near = (model(x) @ model(a).T).topk(5).indices
    return (b[near].mode(1).values == y).float().mean().item()


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, sched = p["model"], p["optimizer"], p["scheduler"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = supcon(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        sched.step()
        print(f"epoch {epoch + 1} contrastive loss {total / len(p['train_loader']):.4f} lr {sched.get_last_lr()[0]:.4f}")
    value = neighbours_agree(model, p["train_loader"].dataset, p["val_loader"])
    print(f"score: {value:.4f}")
