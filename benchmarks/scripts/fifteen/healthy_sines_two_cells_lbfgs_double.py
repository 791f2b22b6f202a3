"""Healthy: the time-sequence example: two LSTM cells in double precision predict the next value of sine waves at every moment, the whole set is one batch, LBFGS at 0.8 with a closure; few steps, each with many evaluations. change: nothing, it is sound."""
import sys

import numpy as np
import torch
from torch import nn, optim


def waves(n, length, seed):
    rng = np.random.default_rng(seed)
    x = np.arange(length) + rng.integers(-80, 80, (n, 1))
    return torch.from_numpy(np.sin(x / 8.0).astype("float64"))


class Sequence(nn.Module):
    def __init__(self, hidden=20):
        super().__init__()
        self.hidden = hidden
        self.lstm1 = nn.LSTMCell(1, hidden)
        self.lstm2 = nn.LSTMCell(hidden, hidden)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, input, future=0):
        outputs = []
        n = input.size(0)
        h_t, c_t, h_t2, c_t2 = (torch.zeros(n, self.hidden, dtype=torch.double) for _ in range(4))
        for input_t in input.split(1, dim=1):
            h_t, c_t = self.lstm1(input_t, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs.append(output)
        for _ in range(future):
            h_t, c_t = self.lstm1(output, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs.append(output)
        return torch.cat(outputs, dim=1)


criterion = nn.MSELoss()


def step(model, batch, optimizer):
    input, target = batch

    def closure():
        optimizer.zero_grad()
        loss = criterion(model(input), target)
        loss.backward()
        return loss

    return optimizer.step(closure).detach()


def parts(variant):
    torch.manual_seed(0)
    model = Sequence().double()
    train, test = waves(30, 80, 1), waves(5, 120, 2)
    return dict(
        model=model,
        optimizer=optim.LBFGS(model.parameters(), lr=0.8, max_iter=15),
        step=step,
        train_loader=[(train[:, :-1], train[:, 1:])],
        val_loader=[(test[:, :79], test[:, 1:80])],
    )


# mean square of a free-running forecast over 40 further moments; the variance of a sine is 0.5
WORKS = lambda score: score < 0.1

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for i in range(8):
        for batch in p["train_loader"]:
            loss = step(p["model"], batch, p["optimizer"])
        print("STEP:", i, "loss:", loss.item())
    test = waves(5, 120, 2)
    with torch.no_grad():
        pred = p["model"](test[:, :80], future=39)
        score = criterion(pred[:, 80:], test[:, 81:]).item()
    print(f"score: {score:.4f}")
