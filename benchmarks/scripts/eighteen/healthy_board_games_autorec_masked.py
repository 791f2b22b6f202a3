"""Sound: an autoencoder recommender (AutoRec) on mostly empty rows of board game ratings; missing ones are zero in the input and masked in the loss, half of the known ones are hidden at random each time. change: nothing."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PLAYERS, GAMES = 900, 80


def ratings(seed=12):
    g = torch.Generator().manual_seed(seed)
    taste, game = torch.randn(PLAYERS, 4, generator=g), torch.randn(GAMES, 4, generator=g)
    full = 6 + 0.7 * torch.randn(GAMES, generator=g) + 0.6 * taste @ game.T + 0.4 * torch.randn(PLAYERS, GAMES, generator=g)
    full = full.clamp(1, 10)
    known = torch.rand(PLAYERS, GAMES, generator=g) < 0.3
    held = known & (torch.rand(PLAYERS, GAMES, generator=g) < 0.15)
    return full, known & ~held, held


class AutoRec(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(2 * GAMES, hidden), nn.Sigmoid(), nn.Dropout(0.1))
        self.decode = nn.Linear(hidden, GAMES)

    def forward(self, r, mask):
        if self.training:
            keep = mask * (torch.rand_like(mask) < 0.5).float()
            r = r * keep * (mask.sum(1, keepdim=True) / keep.sum(1, keepdim=True).clamp(min=1))
            mask = keep
        return self.decode(self.encode(torch.cat([r, mask], 1)))


def training_step(model, batch):
    r, mask, _, _ = batch
    out = model(r, mask)
    return (mask * (out - r)).pow(2).sum() / mask.sum()


def parts(variant):
    torch.manual_seed(0)
    full, known, held = ratings()
    mean = full[known].mean()
    data = TensorDataset((full - mean) * known, known.float(), full - mean, held)
    model = AutoRec()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4), "training_step": training_step,
            "train_loader": DataLoader(data, 30, shuffle=True), "val_loader": DataLoader(data, 300)}


@torch.no_grad()
def held_out_rmse(model, loader):
    model.eval()
    squares = [(model(r, m) - full)[held].pow(2) for r, m, full, held in loader]
    model.train()
    return torch.cat(squares).mean().sqrt().item()


WORKS = lambda score: score < 1.15  # rmse of held-out ratings; the ratings' own deviation is about 1.4

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(60):
        total = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 6 == 5:
            print(f"epoch {epoch + 1}: masked mse {total / len(p['train_loader']):.4f}, held out {held_out_rmse(p['model'], p['val_loader']):.4f}")
    print(f"score: {held_out_rmse(p['model'], p['val_loader']):.4f}")
