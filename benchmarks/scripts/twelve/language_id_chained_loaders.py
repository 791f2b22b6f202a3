"""Which of eight languages is a word from? Character CNN, SGD with momentum. Each language has a loader of its own (each shuffled), and the training runs through them one after the other, so that a batch and then 12 more hold one language; change: the sets are concatenated and one loader shuffles all."""
import sys
import itertools
import torch
import torch.nn as nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset

LETTERS, LENGTH, LANGUAGES = 26, 10, 8


class Words(Dataset):
    """Words of one language, from its own table of letter transitions."""

    def __init__(self, language, n, seed):
        w = torch.Generator().manual_seed(100 + language)
        table = torch.softmax(1.3 * torch.randn(LETTERS, LETTERS, generator=w), 1)
        g = torch.Generator().manual_seed(1000 * seed + language)
        x = torch.randint(0, LETTERS, (n, LENGTH), generator=g)
        for t in range(1, LENGTH):
            x[:, t] = torch.multinomial(table[x[:, t - 1]], 1, generator=g)[:, 0]
        self.x, self.language = x, language

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.language


class ChainedLoaders:
    def __init__(self, loaders):
        self.loaders = loaders

    def __len__(self):
        return sum(len(l) for l in self.loaders)

    def __iter__(self):
        return itertools.chain.from_iterable(self.loaders)


class CharCNN(nn.Module):
    def __init__(self, dim=24, channels=96):
        super().__init__()
        self.embed = nn.Embedding(LETTERS, dim)
        self.conv = nn.Conv1d(dim, channels, 3, padding=1)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(channels, LANGUAGES)

    def forward(self, x):
        h = torch.relu(self.conv(self.embed(x).transpose(1, 2)))
        return self.out(self.drop(h.mean(2)))


def parts(variant):
    torch.manual_seed(0)
    train = [Words(k, 400, 1) for k in range(LANGUAGES)]
    if variant == "bad":
        loader = ChainedLoaders([DataLoader(d, batch_size=32, shuffle=True) for d in train])
    else:
        loader = DataLoader(ConcatDataset(train), batch_size=32, shuffle=True)
    model = CharCNN()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": loader,
        "val_loader": DataLoader(ConcatDataset([Words(k, 80, 2) for k in range(LANGUAGES)]), batch_size=128),
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    hits = [(model(x).argmax(1) == y).float() for x, y in loader]
    model.train()
    return torch.cat(hits).mean().item()


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        running = 0.0
        for i, (words, language) in enumerate(p["train_loader"]):
            opt.zero_grad()
            loss = criterion(model(words), language)
            loss.backward()
            opt.step()
            running += loss.item()
        print(f"epoch {epoch + 1}: loss {running / (i + 1):.4f}, accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
