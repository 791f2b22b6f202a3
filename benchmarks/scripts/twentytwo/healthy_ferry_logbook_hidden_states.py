"""A hidden Markov model of a ferry's logbook fitted by gradient on the forward algorithm in log space; unusual: no network and no labels, the parameters are logits of tables, and the loss is the entropy of the log, near 2.2 nats per entry however well it fits."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
STATES, ENTRIES, LENGTH = 4, 12, 40


def true_tables():
    A = np.full((STATES, STATES), 0.03)
    for s in range(STATES):
        A[s, s], A[s, (s + 1) % STATES] = 0.75, 0.19
    B = np.full((STATES, ENTRIES), 0.02)
    for s in range(STATES):
        B[s, 3 * s:3 * s + 3] = [0.42, 0.25, 0.15]
    return A / A.sum(1, keepdims=True), B / B.sum(1, keepdims=True)


def logbooks(n, rng):
    A, B = true_tables()
    out = np.zeros((n, LENGTH), np.int64)
    for i in range(n):
        s = rng.integers(STATES)
        for t in range(LENGTH):
            out[i, t] = rng.choice(ENTRIES, p=B[s])
            s = rng.choice(STATES, p=A[s])
    return torch.from_numpy(out)


class HMM(nn.Module):
    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.zeros(STATES))
        self.trans = nn.Parameter(torch.randn(STATES, STATES) * 0.5 + torch.eye(STATES))
        self.emit = nn.Parameter(torch.randn(STATES, ENTRIES) * 0.5)

    def forward(self, entries):
        """log likelihood of each sequence"""
        log_a = self.trans.log_softmax(1)
        log_b = self.emit.log_softmax(1).T[entries]     # batch, time, state
        alpha = self.start.log_softmax(0) + log_b[:, 0]
        for t in range(1, entries.shape[1]):
            alpha = torch.logsumexp(alpha[:, :, None] + log_a, dim=1) + log_b[:, t]
        return torch.logsumexp(alpha, dim=1)


def training_step(model, batch):
    return -model(batch[0]).mean() / LENGTH


def parts(variant):
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    model = HMM()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=0.03), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(logbooks(800, rng)), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(logbooks(300, rng)), batch_size=300)}


# nats per entry above the process that wrote the logs
WORKS = lambda score: score < 0.03

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    hmm, opt = p["model"], p["optimizer"]
    truth = HMM()
    A, B = true_tables()
    with torch.no_grad():
        truth.trans.copy_(torch.tensor(A).log())
        truth.emit.copy_(torch.tensor(B).log())
        batch = next(iter(p["val_loader"]))
        floor = training_step(truth, batch).item()
    for epoch in range(25):
        losses = []
        for b in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(hmm, b)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        with torch.no_grad():
            val = training_step(hmm, batch).item()
        print(f"epoch {epoch} nll {np.mean(losses):.4f} val {val:.4f} (true process {floor:.4f})")
    print("score:", val - floor)
