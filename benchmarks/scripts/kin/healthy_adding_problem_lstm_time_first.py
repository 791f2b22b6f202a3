"""No mistake: the adding problem, an LSTM with batch_first=False given (time, batch, 2) by its collate; the loss stays on a plateau at 0.167 for a few hundred steps before it falls."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

T = 20


class Adding(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.values = torch.rand(n, T, generator=g)
        self.marks = torch.zeros(n, T)
        first = torch.randint(0, T // 2, (n,), generator=g)
        second = torch.randint(T // 2, T, (n,), generator=g)
        rows = torch.arange(n)
        self.marks[rows, first] = 1
        self.marks[rows, second] = 1
        self.sums = (self.values * self.marks).sum(1, keepdim=True)

    def __len__(self):
        return len(self.sums)

    def __getitem__(self, i):
        return torch.stack([self.values[i], self.marks[i]], 1), self.sums[i]


def time_first(samples):
    x, y = zip(*samples)
    return torch.stack(x, dim=1), torch.stack(y)


class Adder(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.lstm = nn.LSTM(2, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        output, _ = self.lstm(x)
        return self.out(output[-1])


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = Adder()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "train_loader": DataLoader(Adding(4000, 1), batch_size=50, shuffle=True, collate_fn=time_first),
        "val_loader": DataLoader(Adding(500, 2), batch_size=250, collate_fn=time_first),
        "loss_fn": nn.MSELoss(),
    }


WORKS = lambda score: score < 0.02  # mse; the mean alone gives 0.167


def val_mse(model, loader):
    model.eval()
    with torch.no_grad():
        return sum(((model(x) - y) ** 2).sum().item() for x, y in loader) / len(loader.dataset)


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(*sys.argv[1:2])
    model, opt = p["model"], p["optimizer"]
    for epoch in range(18):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2d}  train {total / len(p['train_loader']):.4f}  val {val_mse(model, p['val_loader']):.4f}")
    print(f"score: {val_mse(model, p['val_loader']):.5f}")
