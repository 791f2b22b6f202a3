"""Sound: GRU that says whether a review of signed words is positive in sum; the reviews are sorted by length, short ones first, in batches of one length, and never shuffled (a curriculum); variant is ignored. change: none."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

WORDS = 60
FEELING = torch.linspace(-1, 1, WORDS)[torch.randperm(WORDS, generator=torch.Generator().manual_seed(77))]


class Reviews(Dataset):
    """Ready-made batches, each of one length, from the shortest to the longest."""

    def __init__(self, lengths, batches_per_length, batch_size, seed):
        g = torch.Generator().manual_seed(seed)
        self.batches = []
        for length in lengths:
            for _ in range(batches_per_length):
                words = torch.randint(0, WORDS, (batch_size, length), generator=g)
                self.batches.append((words, (FEELING[words].sum(1) > 0).float()))

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        return self.batches[i]


class Sentiment(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, 16)
        self.gru = nn.GRU(16, 32, batch_first=True)
        self.out = nn.Linear(32, 1)

    def forward(self, words):
        _, last = self.gru(self.embed(words))
        return self.out(last[0]).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = Sentiment()
    return {"model": model,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3),
            "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(Reviews(range(3, 23), 5, 32, seed=1), batch_size=None, shuffle=False),
            "val_loader": DataLoader(Reviews(range(4, 22, 3), 2, 64, seed=2), batch_size=None)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, bce = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        model.train()
        losses = []
        for words, label in p["train_loader"]:
            loss = bce(model(words), label)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: short {sum(losses[:20]) / 20:.3f}, long {sum(losses[-20:]) / 20:.3f}")
    model.eval()
    with torch.no_grad():
        score = torch.cat([(model(words) > 0).float() == label for words, label in p["val_loader"]]).float().mean().item()
    print(f"score: {score:.4f}")
