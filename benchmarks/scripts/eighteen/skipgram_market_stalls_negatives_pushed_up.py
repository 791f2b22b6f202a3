"""Word2vec over the goods of market stalls, with five negatives each; the negatives' scores go into the log-sigmoid without the minus, so all pairs are pulled together (bad). change: logsigmoid of minus the score for the negatives."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

TRADES, GOODS, NEGATIVES = 10, 20, 5
VOCAB = TRADES * GOODS


def stall_pairs(stalls, seed):
    """Two goods that lay side by side on one stall; a stall has one trade and now and then something else."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(stalls):
        trade = rng.integers(TRADES)
        row = trade * GOODS + rng.integers(0, GOODS, 12)
        odd = rng.random(12) < 0.1
        row[odd] = rng.integers(0, VOCAB, odd.sum())
        pairs += [(row[i], row[j]) for i in range(12) for j in (i - 2, i - 1, i + 1, i + 2) if 0 <= j < 12]
    return torch.tensor(np.array(pairs))


class SkipGram(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.centre = nn.Embedding(VOCAB, dim)
        self.context = nn.Embedding(VOCAB, dim)
        nn.init.uniform_(self.centre.weight, -0.5 / dim ** 0.5, 0.5 / dim ** 0.5)
        nn.init.uniform_(self.context.weight, -0.5 / dim ** 0.5, 0.5 / dim ** 0.5)

    def forward(self, c, o):
        return (self.centre(c).unsqueeze(1) * self.context(o)).sum(-1)


def parts(variant):
    torch.manual_seed(0)
    model = SkipGram()

    def training_step(model, batch):
        c, o = batch[0].unbind(1)
        noise = torch.randint(0, VOCAB, (len(c), NEGATIVES))
        positive = F.logsigmoid(model(c, o.unsqueeze(1)))
        score = model(c, noise)
        negative = F.logsigmoid(score if variant == "bad" else -score)
        return -(positive.squeeze(1) + negative.sum(1)).mean()

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(stall_pairs(1200, 1)), 512, shuffle=True),
            "val_loader": DataLoader(TensorDataset(stall_pairs(200, 2)), 4096)}


@torch.no_grad()
def pair_accuracy(model, loader):
    """Half the pairs lay side by side, half are drawn at random."""
    torch.manual_seed(11)
    right, n = 0, 0
    for pairs, in loader:
        c, o = pairs.unbind(1)
        right += (model(c, o.unsqueeze(1)) > 0).sum().item()
        right += (model(c, torch.randint(0, VOCAB, (len(c), 1))) <= 0).sum().item()
        n += 2 * len(c)
    return right / n


WORKS = lambda score: score > 0.75  # accuracy of "side by side or not"

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        loss_sum = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
            loss_sum += loss.item()
        print(f"epoch {epoch + 1} loss {loss_sum / len(p['train_loader']):.4f} accuracy {pair_accuracy(p['model'], p['val_loader']):.3f}")
    print(f"score: {pair_accuracy(p['model'], p['val_loader']):.4f}")
