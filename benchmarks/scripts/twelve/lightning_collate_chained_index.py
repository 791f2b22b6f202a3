"""Kind of a storm cell from its lightning strokes (place, time, peak current) by a set network, Adam; the collate function fills the current by batch[rows][:, :n, 3] = ..., and with a list of rows that writes into a copy, so the current is zero in every batch; change: one index, batch[i, :n, 3]."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class StormCells(Dataset):
    """Four kinds: what tells them apart is the spread and the share of positive currents; places are alike."""
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.cells = []
        for i in range(n):
            kind, strokes = i % 4, int(rng.integers(10, 25))
            place = rng.normal(0, 1, (strokes, 2))
            time = np.sort(rng.uniform(-1.7, 1.7, strokes))
            size = rng.gamma(4.0, 0.25 if kind < 2 else 0.55, strokes)
            sign = np.where(rng.random(strokes) < (0.2 if kind % 2 else 0.6), 1.0, -1.0)
            self.cells.append((np.column_stack([place, time]).astype(np.float32), (size * sign / 1.5).astype(np.float32), kind))

    def __len__(self):
        return len(self.cells)

    def __getitem__(self, i):
        return self.cells[i]


class PadCollate:
    def __init__(self, one_index):
        self.one_index = one_index

    def __call__(self, cells):
        longest = max(len(place) for place, _, _ in cells)
        batch = np.zeros((len(cells), longest, 5), dtype=np.float32)
        for i, (place, _, _) in enumerate(cells):
            n = len(place)
            batch[i, :n, :3] = place
            batch[i, :n, 4] = 1.0                       # a stroke, no padding
        if self.one_index:
            for i, (_, current, _) in enumerate(cells):
                batch[i, :len(current), 3] = current
        else:
            by_length = {}
            for i, (_, current, _) in enumerate(cells):
                by_length.setdefault(len(current), []).append(i)
            for n, rows in by_length.items():
                batch[rows][:, :n, 3] = np.stack([cells[i][1] for i in rows])
        return torch.from_numpy(batch), torch.tensor([kind for _, _, kind in cells])


class SetNet(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.stroke = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.cell = nn.Sequential(nn.Linear(2 * width, 48), nn.ReLU(), nn.Linear(48, 4))

    def forward(self, batch):
        strokes, there = batch[..., :4], batch[..., 4:]
        h = self.stroke(strokes) * there
        mean = h.sum(1) / there.sum(1)
        return self.cell(torch.cat([mean, h.amax(1)], -1))


def parts(variant):
    torch.manual_seed(0)
    model = SetNet()
    collate = PadCollate(one_index=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(StormCells(2400, 1), batch_size=48, shuffle=True, collate_fn=collate),
        "val_loader": DataLoader(StormCells(600, 2), batch_size=100, collate_fn=collate),
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    hits = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return hits / len(loader.dataset)


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
