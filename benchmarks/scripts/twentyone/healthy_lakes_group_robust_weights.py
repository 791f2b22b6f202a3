"""Group distributionally robust training of a fish classifier over four lake groups of very unequal size, whose weights follow an exponentiated ascent inside the loss."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

GROUPS = 4


def lakes(counts, seed):
    g = torch.Generator().manual_seed(seed)
    group = torch.repeat_interleave(torch.arange(GROUPS), torch.tensor(counts))
    label, water = group // 2, group % 2
    sign = label.float() * 2 - 1
    tint = water.float() * 2 - 1
    x = torch.randn(len(group), 12, generator=g)
    x[:, 0] = x[:, 0] * 0.8 + 1.2 * sign
    x[:, 1] = x[:, 1] * 0.8 + 1.2 * sign
    x[:, 2] = x[:, 2] * 0.3 + 1.5 * tint
    return x, label, group


class RobustLoss(nn.Module):
    def __init__(self, rate=0.02):
        super().__init__()
        self.rate = rate
        self.register_buffer("q", torch.full((GROUPS,), 1 / GROUPS))

    def forward(self, logits, label, group):
        each = F.cross_entropy(logits, label, reduction="none")
        one_hot = F.one_hot(group, GROUPS).float()
        present = one_hot.sum(0)
        mean = (each @ one_hot) / present.clamp_min(1)
        if logits.requires_grad:
            with torch.no_grad():
                self.q.mul_((self.rate * mean).exp())
                self.q.div_(self.q.sum())
        return (self.q.clone() * mean).sum()


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 2))
    robust = RobustLoss()

    def training_step(model, batch):
        x, label, group = batch
        return robust(model(x), label, group)

    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-3),
        "training_step": training_step,
        # groups: (label 0, murky), (label 0, clear), (label 1, murky), (label 1, clear)
        "train_loader": DataLoader(TensorDataset(*lakes([2000, 150, 150, 2000], 1)), batch_size=128, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*lakes([300, 300, 300, 300], 2)), batch_size=1200),
    }


WORKS = lambda score: score > 0.88

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    x_val, label_val, group_val = next(iter(p["val_loader"]))
    for epoch in range(30):
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
            right = (model(x_val).argmax(1) == label_val).float()
        worst = min(right[group_val == k].mean().item() for k in range(GROUPS))
        print(f"epoch {epoch} robust loss {total / len(p['train_loader']):.4f} worst lake {worst:.4f} all {right.mean():.4f}")
    print(f"score: {worst:.4f}")
