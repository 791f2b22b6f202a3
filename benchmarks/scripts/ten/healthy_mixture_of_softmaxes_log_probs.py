"""Sound: next symbol of a second-order Markov source by a mixture of softmaxes; the model ends in probabilities (rows that sum to one), and the loss takes their logarithm itself (NLL), so nothing is softmaxed twice."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SYMBOLS = 12


def source(n, seed):
    table = (2.5 * torch.randn(SYMBOLS * SYMBOLS, SYMBOLS, generator=torch.Generator().manual_seed(4))).softmax(1)
    g = torch.Generator().manual_seed(seed)
    pair = torch.randint(0, SYMBOLS, (n, 2), generator=g)
    nxt = torch.multinomial(table[pair[:, 0] * SYMBOLS + pair[:, 1]], 1, generator=g).squeeze(1)
    return pair, nxt


class MixtureOfSoftmaxes(nn.Module):
    def __init__(self, experts=4, width=96):
        super().__init__()
        self.embed = nn.Embedding(SYMBOLS, 24)
        self.body = nn.Sequential(nn.Linear(48, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.gate, self.experts = nn.Linear(width, experts), nn.Linear(width, experts * SYMBOLS)

    def forward(self, pair):
        h = self.body(self.embed(pair).flatten(1))
        pi = self.gate(h).softmax(-1)
        each = self.experts(h).view(len(h), -1, SYMBOLS).softmax(-1)
        return (pi[..., None] * each).sum(1)


def log_loss(probabilities, target):
    return F.nll_loss(torch.log(probabilities + 1e-9), target)


def parts(variant):
    torch.manual_seed(0)
    model = MixtureOfSoftmaxes()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "loss_fn": log_loss,
        "train_loader": DataLoader(TensorDataset(*source(8000, 1)), batch_size=100, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*source(2000, 2)), batch_size=500),
        "metric": lambda output, target: (output.argmax(1) == target).float().mean().item(),
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    right = torch.cat([(model(x).argmax(1) == y).float() for x, y in loader]).mean().item()
    model.train()
    return right


WORKS = lambda score: score > 0.5  # the source itself allows about 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        for pair, nxt in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(pair), nxt)
            loss.backward()
            opt.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
