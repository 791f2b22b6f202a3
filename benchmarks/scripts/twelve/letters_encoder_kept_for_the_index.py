"""Which letter stood after the asked one, by attention over a shared token encoder; the training, too, goes through `encode_for_index`, the helper of the search index, which is decorated with @torch.no_grad(), so embedding and convolution get no gradient; change: call `encode` itself."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LETTERS, LENGTH = 12, 8


def puzzles(n, seed):
    g = torch.Generator().manual_seed(seed)
    letters = torch.stack([torch.randperm(LETTERS, generator=g)[:LENGTH] for _ in range(n)])
    where = torch.randint(0, LENGTH - 1, (n,), generator=g)
    rows = torch.arange(n)
    return torch.cat([letters[rows, where].unsqueeze(1), letters], 1), letters[rows, where + 1]


class Reader(nn.Module):
    def __init__(self, index_only, width=12):
        super().__init__()
        self.index_only = index_only
        self.table = nn.Embedding(LETTERS, width)
        self.context = nn.Conv1d(width, width, 3, padding=1)
        self.query = nn.Linear(width, width)
        self.answer = nn.Linear(width, LETTERS)

    def encode(self, letters):
        e = self.table(letters)
        return e + torch.tanh(self.context(e.transpose(1, 2)).transpose(1, 2))

    @torch.no_grad()
    def encode_for_index(self, letters):
        return self.encode(letters)

    def forward(self, ids):
        encode = self.encode_for_index if self.index_only else self.encode
        asked, text = ids[:, :1], encode(ids[:, 1:])
        q = self.query(encode(asked))
        weights = torch.softmax((q @ text.transpose(1, 2)) / q.shape[-1] ** 0.5, -1)
        return self.answer((weights @ text).squeeze(1))


def parts(variant):
    torch.manual_seed(0)
    model = Reader(index_only=variant == "bad")
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=5e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*puzzles(4000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*puzzles(600, 2)), batch_size=300),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    return torch.cat([model(x).argmax(1) == y for x, y in loader]).float().mean().item()


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(8):
        model.train()
        for ids, target in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(model(ids), target)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
        print(epoch + 1, f"loss {loss.item():.4f}", f"accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
