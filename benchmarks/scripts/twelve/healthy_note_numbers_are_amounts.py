"""Sound: does a phrase go up or down on the whole, and how wide is its range, from MIDI note numbers (integers 36 to 96) that go in as numbers, without an embedding: pitch is an amount, and a small GRU on centred semitones is right for it; RMSprop."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

NOTES = 20


def phrases(n, seed):
    g = torch.Generator().manual_seed(seed)
    slope = 0.5 * torch.randn(n, 1, generator=g)
    start = torch.randint(54, 79, (n, 1), generator=g)
    walk = (slope + 1.5 * torch.randn(n, NOTES, generator=g)).cumsum(1)
    notes = (start + walk).round().clamp(36, 96).long()
    rise = (notes[:, -5:].float().mean(1) - notes[:, :5].float().mean(1)) / 8.0
    width = (notes.amax(1) - notes.amin(1)).float() / 6.0 - 2.2
    return notes, torch.stack([rise, width], 1)


class PhraseGRU(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, notes):
        semitones = (notes.float() - 66.0) / 12.0
        _, h = self.gru(semitones.unsqueeze(-1))
        return self.head(h[-1])


def parts(variant):
    torch.manual_seed(0)
    model = PhraseGRU()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*phrases(3000, 1)), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*phrases(600, 2)), batch_size=200),
    }


@torch.no_grad()
def r2(model, loader):
    model.eval()
    out = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    return (1 - ((out - y) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)).min().item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(18):
        model.train()
        for notes, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(notes), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        p["scheduler"].step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, worst R2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
