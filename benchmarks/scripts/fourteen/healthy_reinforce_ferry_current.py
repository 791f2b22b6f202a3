"""REINFORCE with a batch-mean baseline: a ferry on a 7 x 9 grid crosses a river whose current drifts it downstream and has to land at the pier; the loader gives starting columns. Sound; the loss (log-probabilities times advantage) hovers around zero and does not fall, the return rises."""
import sys

import torch
from torch import nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

ROWS, COLS, PIER, STEPS = 7, 9, 6, 14
MOVES = torch.tensor([[1, 0], [0, -1], [0, 1], [0, 0]])


class Pilot(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(ROWS + COLS, 48), nn.Tanh(), nn.Linear(48, len(MOVES)))

    def forward(self, row, col):
        state = torch.cat([nn.functional.one_hot(row, ROWS), nn.functional.one_hot(col, COLS)], 1).float()
        return self.net(state)


def crossing(model, col, greedy=False):
    row = torch.zeros_like(col)
    logp = torch.zeros(len(col))
    reward = torch.zeros(len(col))
    done = torch.zeros(len(col), dtype=torch.bool)
    for _ in range(STEPS):
        dist = Categorical(logits=model(row, col))
        action = dist.probs.argmax(1) if greedy else dist.sample()
        logp = logp + dist.log_prob(action) * (~done)
        move = MOVES[action]
        drift = (torch.rand(len(col)) < 0.3).long() * ((row > 0) & (row < ROWS - 1)).long()
        new_row = (row + move[:, 0]).clamp(0, ROWS - 1)
        new_col = (col + move[:, 1] + drift).clamp(0, COLS - 1)
        row, col = torch.where(done, row, new_row), torch.where(done, col, new_col)
        landed = (row == ROWS - 1) & ~done
        reward = reward + landed * (1.0 - 0.5 * (col - PIER).abs())
        done = done | landed
    return logp, reward, done & (col == PIER)


def parts(variant):
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(1)
    starts = torch.randint(0, COLS, (2048,), generator=g)
    model = Pilot()

    def training_step(model, batch):
        logp, reward, _ = crossing(model, batch[0])
        advantage = reward - reward.mean()
        return -(logp * advantage).mean()

    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=5e-3), training_step=training_step,
                train_loader=DataLoader(TensorDataset(starts), batch_size=64, shuffle=True),
                val_loader=DataLoader(TensorDataset(torch.randint(0, COLS, (512,), generator=g)), batch_size=512))


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(22):
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            _, reward, hit = crossing(model, next(iter(p["val_loader"]))[0])
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):+.4f}  return {reward.mean():.3f}  at the pier {hit.float().mean():.3f}")
    with torch.no_grad():
        _, reward, hit = crossing(model, next(iter(p["val_loader"]))[0], greedy=True)
    print(f"score: {hit.float().mean().item():.4f}")
