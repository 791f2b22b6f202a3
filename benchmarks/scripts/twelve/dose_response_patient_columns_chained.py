"""Response of patients to a dose from a dose curve's time points and patient columns of which some are missing; the collate function fills the columns by `columns[rows][:, known] = values`, which writes into a copy, so the patient branch gets zeros for ever; change: one index, columns[rows, known] = values."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

COLUMNS, TIMES = 6, 10


class Patients(Dataset):
    """A record: doses given over time, the patient's columns (weight, clearance, ...) as a dict of known ones, the level at the end."""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.doses = torch.rand(n, TIMES, generator=g) * (torch.rand(n, TIMES, generator=g) < 0.5)
        c = torch.randn(n, COLUMNS, generator=g)
        rate = torch.exp(-1.0 + 0.8 * c[:, 0])
        decay = torch.exp(-rate[:, None] * torch.arange(TIMES, 0, -1))
        level = (self.doses * decay).sum(1) * torch.exp(-0.5 * c[:, 1]) + 0.3 * c[:, 2] + 0.2 * c[:, 3] * c[:, 4]
        self.level = (level - 0.9) / 0.85
        known = torch.rand(n, COLUMNS, generator=g) < 0.97
        self.columns = [{j: c[i, j].item() for j in range(COLUMNS) if known[i, j]} for i in range(n)]

    def __len__(self):
        return len(self.level)

    def __getitem__(self, i):
        return (self.doses[i] - 0.25) / 0.32, self.columns[i], self.level[i]


class Collate:
    def __init__(self, chained):
        self.chained = chained

    def __call__(self, records):
        doses, dicts, level = zip(*records)
        columns = torch.zeros(len(records), COLUMNS)
        for row, known in enumerate(dicts):
            names, values = list(known), torch.tensor(list(known.values()))
            rows = torch.tensor([row])
            if self.chained:
                columns[rows][:, names] = values
            else:
                columns[rows, names] = values
        return torch.stack(doses), columns, torch.stack(level)


class Response(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.time = nn.Linear(TIMES, width)
        self.patient = nn.Sequential(nn.Linear(COLUMNS, width), nn.SiLU(), nn.Linear(width, width))
        self.both = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, doses, columns):
        h = torch.cat([nn.functional.silu(self.time(doses)), self.patient(columns)], 1)
        return self.both(h).squeeze(1)


def training_step(model, batch):
    doses, columns, level = batch
    return nn.functional.mse_loss(model(doses, columns), level)


def parts(variant):
    torch.manual_seed(0)
    model, collate = Response(), Collate(chained=variant == "bad")
    return {
        "model": model,
        "optimizer": torch.optim.NAdam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(Patients(3000, 1), batch_size=50, shuffle=True, collate_fn=collate),
        "val_loader": DataLoader(Patients(500, 2), batch_size=100, collate_fn=collate),
        "training_step": training_step,
    }


@torch.no_grad()
def r2(model, loader):
    model.eval()
    rows = [(model(d, c), y) for d, c, y in loader]
    out, y = torch.cat([r[0] for r in rows]), torch.cat([r[1] for r in rows])
    return (1 - (out - y).pow(2).mean() / y.var()).item()


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, R2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
