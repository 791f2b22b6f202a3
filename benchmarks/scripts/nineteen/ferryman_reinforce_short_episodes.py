"""REINFORCE for a ferryman on a river of nine cells who starts in any cell; the returns of the episode are normalised with their mean and std, and an episode of one step has std nan, which goes into the weights. change: normalise over all the episodes of the batch."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

CELLS, GOAL, LIMIT = 9, 8, 30


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1, self.affine2 = nn.Linear(CELLS, 32), nn.Linear(32, 2)

    def forward(self, x):
        return self.affine2(torch.relu(self.affine1(x)))


def onehot(pos):
    return torch.eye(CELLS)[pos][None]


def rollout(model, pos, rng):
    log_probs, rewards = [], []
    for _ in range(LIMIT):
        log_p = torch.log_softmax(model(onehot(pos)), 1)
        a = int(rng.rand() < log_p[0, 1].exp().item())
        log_probs.append(log_p[:, a])
        pos = max(0, pos + (1 if (a == 1) == (rng.rand() < 0.9) else -1))
        rewards.append(1.0 if pos == GOAL else -0.1)
        if pos == GOAL:
            break
    returns, R = [], 0.0
    for r in rewards[::-1]:
        R = r + 0.95 * R
        returns.insert(0, R)
    return torch.cat(log_probs), torch.tensor(returns)


def make_training_step(variant):
    rng = np.random.RandomState(0)
    eps = np.finfo(np.float32).eps.item()

    def training_step(model, batch):
        episodes = [rollout(model, int(pos), rng) for pos in batch[0]]
        if variant == "bad":
            scaled = [(lp, (ret - ret.mean()) / (ret.std() + eps)) for lp, ret in episodes]
        else:
            every = torch.cat([ret for _, ret in episodes])
            scaled = [(lp, (ret - every.mean()) / (every.std() + eps)) for lp, ret in episodes]
        return torch.stack([-(lp * ret).sum() for lp, ret in scaled]).mean()

    return training_step


def parts(variant):
    torch.manual_seed(0)
    starts = torch.randint(0, GOAL, (80,), generator=torch.Generator().manual_seed(5))
    return_data = TensorDataset(starts, starts)
    model = Policy()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-2), "training_step": make_training_step(variant),
            "train_loader": DataLoader(return_data, batch_size=8, shuffle=True), "val_loader": DataLoader(return_data, batch_size=8)}


def evaluate(model):
    rng, arrived = np.random.RandomState(9), 0
    for k in range(80):
        pos = k % GOAL
        for _ in range(16):
            with torch.no_grad():
                a = model(onehot(pos)).argmax().item()
            pos = max(0, pos + (1 if (a == 1) == (rng.rand() < 0.9) else -1))
            if pos == GOAL:
                arrived += 1
                break
    return arrived / 80


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(15):
        losses = []
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {np.mean(losses):.4f} arrived {evaluate(p['model']):.3f}")
    score = evaluate(p["model"])
    print(f"score: {score:.4f}")
