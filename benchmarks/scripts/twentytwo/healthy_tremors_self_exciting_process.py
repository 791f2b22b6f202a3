"""Fits a Hawkes process (background rate, excitation, decay) to catalogues of tremors by maximum likelihood; unusual: three scalar parameters through softplus, the loss is a negative log likelihood per tremor that is below zero and hardly moves although the parameters become right."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
MU, JUMP, DECAY, SPAN = 1.5, 2.4, 4.0, 20.0   # per day


def catalogue(rng):
    t, s, times = 0.0, 0.0, []
    while True:
        bound = MU + s
        wait = rng.exponential(1 / bound)
        t += wait
        s *= np.exp(-DECAY * wait)
        if t > SPAN:
            return np.array(times)
        if rng.random() * bound < MU + s:
            times.append(t)
            s += JUMP


class Tremors(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.items = [torch.tensor(catalogue(rng), dtype=torch.float32) for _ in range(n)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(items):
    lengths = torch.tensor([len(t) for t in items])
    return nn.utils.rnn.pad_sequence(items, batch_first=True, padding_value=SPAN), lengths


class Hawkes(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw = nn.ParameterDict({k: nn.Parameter(torch.tensor(0.0)) for k in ("mu", "jump", "decay")})

    def rates(self):
        return [F.softplus(self.raw[k]) for k in ("mu", "jump", "decay")]

    def forward(self, times, lengths):
        """log likelihood of each catalogue"""
        mu, jump, decay = self.rates()
        mask = torch.arange(times.shape[1]) < lengths[:, None]
        s = torch.zeros(len(times))
        logs = [torch.log(mu).expand(len(times))]
        for k in range(1, times.shape[1]):
            s = (s + jump) * torch.exp(-decay * (times[:, k] - times[:, k - 1]))
            logs.append(torch.log(mu + s))
        events = (torch.stack(logs, 1) * mask).sum(1)
        compensator = mu * SPAN + (jump / decay * (1 - torch.exp(-decay * (SPAN - times))) * mask).sum(1)
        return events - compensator


def training_step(model, batch):
    times, lengths = batch
    return -model(times, lengths).sum() / lengths.sum()


def parts(variant):
    torch.manual_seed(0)
    model = Hawkes()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=0.05), "training_step": training_step,
            "train_loader": DataLoader(Tremors(500, 0), batch_size=20, shuffle=True, collate_fn=collate)}


# largest relative error of the three rates
WORKS = lambda score: score < 0.15

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(18):
        if epoch == 13:
            opt.param_groups[0]["lr"] = 0.01
        losses = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        found = [r.item() for r in model.rates()]
        print(f"epoch {epoch} nll {np.mean(losses):.4f} mu {found[0]:.2f} jump {found[1]:.2f} decay {found[2]:.2f}")
    print("score:", max(abs(f - w) / w for f, w in zip(found, (MU, JUMP, DECAY))))
