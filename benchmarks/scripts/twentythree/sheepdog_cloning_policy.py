"""Behaviour cloning of a shepherd's two-dimensional steering command with an MLP of Linear-LayerNorm-ReLU blocks. The mistake: the output layer is followed by LayerNorm(2) as well, so the two commands of a row are always normalised against each other to +1 and -1 and the size of the command is lost; the right change: no normalisation after the last Linear."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def expert(s):
    # s: dog xy, sheep xy, gate xy. Stand behind the sheep, seen from the gate, then push.
    dog, sheep, gate = s[:, 0:2], s[:, 2:4], s[:, 4:6]
    away = sheep - gate
    away = away / (np.linalg.norm(away, axis=1, keepdims=True) + 1e-6)
    spot = sheep + 0.4 * away
    todo = spot - dog
    dist = np.linalg.norm(todo, axis=1, keepdims=True)
    speed = np.tanh(1.5 * dist)
    near = np.exp(-4 * np.linalg.norm(dog - sheep, axis=1, keepdims=True))
    side = np.stack([-(sheep - dog)[:, 1], (sheep - dog)[:, 0]], 1)
    return todo / (dist + 1e-6) * speed + 0.8 * near * side


def block(n_in, n_out):
    return [nn.Linear(n_in, n_out), nn.LayerNorm(n_out), nn.ReLU()]


def build(variant):
    layers = block(6, 64) + block(64, 64) + block(64, 64)
    head = block(64, 2)[:2] if variant == "bad" else [nn.Linear(64, 2)]
    return nn.Sequential(*layers, *head)


def r2(out, y):
    return 1 - ((out - y) ** 2).mean().item() / ((y - y.mean(0)) ** 2).mean().item()


def parts(variant):
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    s = rng.uniform(-1, 1, (4000, 6))
    a = expert(s)
    S, A = torch.tensor(s, dtype=torch.float32), torch.tensor(a, dtype=torch.float32)
    policy = build(variant)
    return {"model": policy, "optimizer": torch.optim.Adam(policy.parameters(), lr=2e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(S[:3200], A[:3200]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(S[3200:], A[3200:]), batch_size=800), "metric": r2}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    policy, opt = p["model"], p["optimizer"]
    scores = []
    for epoch in range(12):
        policy.train()
        losses = []
        for s, a in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](policy(s), a)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        policy.eval()
        with torch.no_grad():
            scores.append(np.mean([r2(policy(s), a) for s, a in p["val_loader"]]))
        print(f"epoch {epoch:2d}  mse {np.mean(losses):.4f}  held-out r2 {scores[-1]:.3f}")
    print("score:", np.mean(scores[-3:]))
