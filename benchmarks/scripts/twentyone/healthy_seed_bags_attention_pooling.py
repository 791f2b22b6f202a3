"""Multiple-instance learning: a bag of seed measurements is marked if at least one seed is mouldy; bags differ in size, are padded in the collate function, and gated attention with a mask pools them."""
import sys
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

FEATURES = 8


class Bags(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.bags, self.marks = [], []
        for _ in range(n):
            size = int(torch.randint(4, 16, (), generator=g))
            seeds = torch.randn(size, FEATURES, generator=g)
            mark = int(torch.randint(0, 2, (), generator=g))
            if mark:
                bad = torch.randperm(size, generator=g)[: int(torch.randint(1, 3, (), generator=g))]
                seeds[bad, :3] = torch.tensor([2.2, -2.2, 1.8]) + 0.4 * torch.randn(len(bad), 3, generator=g)
            self.bags.append(seeds)
            self.marks.append(float(mark))

    def __len__(self):
        return len(self.bags)

    def __getitem__(self, i):
        return self.bags[i], self.marks[i]


def collate(items):
    bags, marks = zip(*items)
    sizes = torch.tensor([len(b) for b in bags])
    padded = pad_sequence(bags, batch_first=True)
    mask = torch.arange(padded.shape[1]).unsqueeze(0) < sizes.unsqueeze(1)
    return (padded, mask), torch.tensor(marks)


class AttentionPool(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(FEATURES, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, width), nn.ReLU())
        self.v, self.u = nn.Linear(width, 24), nn.Linear(width, 24)
        self.w = nn.Linear(24, 1, bias=False)
        self.head = nn.Linear(width, 1)

    def forward(self, bag):
        x, mask = bag
        h = self.embed(x)
        score = self.w(torch.tanh(self.v(h)) * torch.sigmoid(self.u(h))).squeeze(-1)
        a = score.masked_fill(~mask, float("-inf")).softmax(1)
        return self.head((a.unsqueeze(-1) * h).sum(1)).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = AttentionPool()
    return {
        "model": model,
        "optimizer": torch.optim.Adamax(model.parameters(), lr=4e-3),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "train_loader": DataLoader(Bags(1500, 1), batch_size=32, shuffle=True, collate_fn=collate),
        "val_loader": DataLoader(Bags(500, 2), batch_size=100, collate_fn=collate),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        model.train()
        total, seen = 0.0, 0
        for bag, mark in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(bag), mark)
            loss.backward()
            opt.step()
            total, seen = total + loss.item() * len(mark), seen + len(mark)
        model.eval()
        with torch.no_grad():
            score = torch.cat([((model(b) > 0).float() == m).float() for b, m in p["val_loader"]]).mean().item()
        print(f"epoch {epoch} loss {total / seen:.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
