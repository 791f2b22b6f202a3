"""Which of six made-up languages a word is from, by a convolution over its letters, SGD with momentum; the helper that clears the gradients makes zeros_like of each and drops it, so they pile up from step to step; change: zero_ in place."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LETTERS, LENGTH, LANGUAGES = 26, 12, 6


def words(n, seed):
    chain = np.random.default_rng(7).dirichlet(np.full(LETTERS, 0.15), (LANGUAGES, LETTERS)).cumsum(-1)
    rng = np.random.default_rng(seed)
    y = rng.integers(0, LANGUAGES, n)
    x = np.zeros((n, LENGTH), dtype=np.int64)
    x[:, 0] = rng.integers(0, LETTERS, n)
    for t in range(1, LENGTH):
        u = rng.random((n, 1))
        x[:, t] = (u > chain[y, x[:, t - 1]]).sum(1).clip(0, LETTERS - 1)
    noisy = rng.random((n, LENGTH)) < 0.08
    x[noisy] = rng.integers(0, LETTERS, noisy.sum())
    return torch.from_numpy(x), torch.from_numpy(y)


class WordNet(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.embed = nn.Embedding(LETTERS, 16)
        self.conv = nn.Sequential(nn.Conv1d(16, width, 3), nn.ReLU(), nn.Conv1d(width, width, 3), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, LANGUAGES))

    def forward(self, x):
        h = self.conv(self.embed(x).transpose(1, 2))
        return self.head(h.amax(-1))


def clear_gradients(model, in_place):
    for parameter in model.parameters():
        if parameter.grad is None:
            continue
        grad = parameter.grad.detach()
        if in_place:
            grad.zero_()
        else:
            grad = torch.zeros_like(grad)


def parts(variant):
    torch.manual_seed(0)
    model = WordNet()
    loss_fn = nn.CrossEntropyLoss()

    def train_step(model, batch, optimizer):
        x, y = batch
        clear_gradients(model, in_place=variant != "bad")
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
        "loss_fn": loss_fn,
        "step": train_step,
        "train_loader": DataLoader(TensorDataset(*words(5000, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*words(600, 2)), batch_size=200),
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    return torch.cat([model(x).argmax(1) == y for x, y in loader]).float().mean().item()


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(7):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}, accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
