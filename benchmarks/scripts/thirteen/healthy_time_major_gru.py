"""Sound: two-layer GRU with PyTorch's default (time, batch, features) layout, used rightly: the collate function stacks along dim 1, the last hidden state of the top layer is read out."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class Tracks(Dataset):
    """Walks in the plane; the target: does the track turn left or right on the whole?"""
    def __init__(self, n, seed, steps=25):
        g = torch.Generator().manual_seed(seed)
        turn = 0.25 * torch.randn(n, steps, generator=g) + 0.12 * torch.randn(n, 1, generator=g)
        heading = 6.2832 * torch.rand(n, 1, generator=g) + turn.cumsum(1)
        self.moves = torch.stack([heading.cos(), heading.sin()], -1) + 0.05 * torch.randn(n, steps, 2, generator=g)
        self.left = (turn[:, 1:].sum(1) > 0).float()

    def __len__(self):
        return len(self.moves)

    def __getitem__(self, i):
        return self.moves[i], self.left[i]


def time_major(samples):
    moves, left = zip(*samples)
    return torch.stack(moves, dim=1), torch.stack(left)


class TurnGRU(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.gru = nn.GRU(2, hidden, num_layers=2)
        self.out = nn.Linear(hidden, 1)

    def forward(self, moves):
        _, hidden = self.gru(moves)
        return self.out(hidden[-1]).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    net = TurnGRU()
    return {"model": net, "optimizer": torch.optim.RMSprop(net.parameters(), lr=2e-3),
            "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(Tracks(2400, 1), batch_size=40, shuffle=True, collate_fn=time_major),
            "val_loader": DataLoader(Tracks(600, 2), batch_size=100, collate_fn=time_major)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(12):
        net.train()
        total, batches = 0.0, 0
        for moves, left in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(moves), left)
            loss.backward()
            nn.utils.clip_grad_value_(net.parameters(), 1.0)
            p["optimizer"].step()
            total, batches = total + loss.item(), batches + 1
        net.eval()
        right = 0.0
        with torch.no_grad():
            for moves, left in p["val_loader"]:
                right += ((net(moves) > 0).float() == left).sum().item()
        score = right / 600
        print(f"epoch {epoch}: loss {total / batches:.4f} val acc {score:.4f}")
    print(f"score: {score:.4f}")
