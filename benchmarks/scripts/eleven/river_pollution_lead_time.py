"""Emulator of a spill drifting along a river (field now, lead time 1..8 -> field then), residual convolutions, Adamax; the lead time is embedded but the blocks are called without it, and the net gives the mean over all leads; change: the embedding goes into every block."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

CELLS, LEADS = 48, 8


def drift(u):
    """One step: the flow takes it 3 cells on, it spreads a little and decays."""
    u = torch.roll(u, 3, dims=-1)
    return 0.97 * (0.8 * u + 0.1 * torch.roll(u, 1, -1) + 0.1 * torch.roll(u, -1, -1))


def spills(n, seed):
    g = torch.Generator().manual_seed(seed)
    s = torch.arange(CELLS, dtype=torch.float32)
    u = torch.zeros(n, CELLS)
    for _ in range(2):
        c = torch.rand(n, 1, generator=g) * CELLS
        gap = torch.remainder(s - c + CELLS / 2, CELLS) - CELLS / 2
        u = u + (0.5 + torch.rand(n, 1, generator=g)) * torch.exp(-0.5 * (gap / 2.0) ** 2)
    lead = torch.randint(0, LEADS, (n,), generator=g)
    now, then = u, u.clone()
    for k in range(LEADS):
        u = drift(u)
        then[lead == k] = u[lead == k]
    return now[:, None], lead, then[:, None]


class Block(nn.Module):
    def __init__(self, c, dilation):
        super().__init__()
        self.conv = nn.Conv1d(c, c, 5, padding=2 * dilation, dilation=dilation, padding_mode="circular")
        self.mix = nn.Conv1d(c, c, 1)

    def forward(self, h):
        return self.mix(torch.relu(self.conv(h)))


class Emulator(nn.Module):
    def __init__(self, c=32, use_lead=True):
        super().__init__()
        self.use_lead = use_lead
        self.lift = nn.Conv1d(1, c, 1)
        self.lead = nn.Embedding(LEADS, c)
        self.blocks = nn.ModuleList(Block(c, d) for d in (1, 2, 3, 2, 1))
        self.project = nn.Conv1d(c, 1, 1)

    def forward(self, field, lead):
        h = self.lift(field)
        tau = self.lead(lead)[:, :, None]
        for block in self.blocks:
            if self.use_lead:
                h = h + block(h + tau)
            else:
                h = h + block(h)
        return self.project(h)


def training_step(model, batch):
    now, lead, then = batch
    return nn.functional.mse_loss(model(now, lead), then)


def standardised(split, mean, std):
    now, lead, then = split
    return TensorDataset((now - mean) / std, lead, (then - mean) / std)


def parts(variant):
    torch.manual_seed(0)
    train, val = spills(3000, 1), spills(500, 2)
    mean, std = train[0].mean(), train[0].std()
    model = Emulator(use_lead=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adamax(model.parameters(), lr=5e-3),
        "training_step": training_step,
        "train_loader": DataLoader(standardised(train, mean, std), batch_size=32, shuffle=True),
        "val_loader": DataLoader(standardised(val, mean, std), batch_size=250),
    }


@torch.no_grad()
def skill(model, loader):
    model.eval()
    error = var = 0.0
    for now, lead, then in loader:
        error += ((model(now, lead) - then) ** 2).sum().item()
        var += ((then - then.mean()) ** 2).sum().item()
    return 1 - error / var


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loader = p["model"], p["optimizer"], p["train_loader"]
    for epoch in range(12):
        model.train()
        mean_loss = 0.0
        for batch in loader:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            optimizer.step()
            mean_loss += loss.item() / len(loader)
        print(f"epoch {epoch:2d} loss {mean_loss:.4f} skill {skill(model, p['val_loader']):.3f}")
    print(f"score: {skill(model, p['val_loader']):.4f}")
