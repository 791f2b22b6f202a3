"""Skip-gram word vectors with negative samples; both tables begin at zero, each waits for the other; change: the twin begins with small uniform centre vectors."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

WORDS, TOPICS, DIM = 96, 8, 16


def pairs(n, seed):
    """(centre, context, 1) from documents of one topic each and (centre, random word, 0)."""
    g = torch.Generator().manual_seed(seed)
    centre = torch.randint(0, WORDS, (n,), generator=g)
    own = centre % TOPICS + TOPICS * torch.randint(0, WORDS // TOPICS, (n,), generator=g)
    other = torch.randint(0, WORDS, (n,), generator=g)
    context = torch.where(torch.rand(n, generator=g) < 0.65, own, other)
    negative = torch.randint(0, WORDS, (2 * n,), generator=g)
    label = torch.cat([torch.ones(n), torch.zeros(2 * n)])
    return torch.cat([centre, centre.repeat(2)]), torch.cat([context, negative]), label


class SkipGram(nn.Module):
    def __init__(self, init_range):
        super().__init__()
        self.centre = nn.Embedding(WORDS, DIM)
        self.context = nn.Embedding(WORDS, DIM)
        nn.init.uniform_(self.centre.weight, -init_range, init_range)
        nn.init.zeros_(self.context.weight)

    def forward(self, w, c):
        return (self.centre(w) * self.context(c)).sum(1)


def parts(variant):
    torch.manual_seed(0)
    model = SkipGram(init_range=0.0 if variant == "bad" else 0.5 / DIM)
    return {"model": model, "loss_fn": F.binary_cross_entropy_with_logits,
            "optimizer": torch.optim.Adagrad(model.parameters(), lr=0.1),
            "train_loader": DataLoader(TensorDataset(*pairs(16000, 1)), batch_size=256, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*pairs(1500, 2)), batch_size=1500)}


WORKS = lambda score: score > 0.6        # how often the nearest word is of the same topic


@torch.no_grad()
def neighbours_right(model):
    v = F.normalize(model.centre.weight, dim=1)
    sim = v @ v.T
    sim.fill_diagonal_(-2)
    return (sim.argmax(1) % TOPICS == torch.arange(WORDS) % TOPICS).float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(12):
        total = 0
        for w, c, label in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](w, c), label)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} neighbours {neighbours_right(p['model']):.3f}")
    print(f"score: {neighbours_right(p['model']):.4f}")
