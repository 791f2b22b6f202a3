"""Causal dilated convolutions tell at each moment whether an alarm is armed (trigger A in the last 24 steps, no reset since), NAdam; the loop over the blocks calls each on the embedded input and keeps the last one's answer only, so the others get no gradient and the view is short; change: each block reads the one before."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

EVENTS, LENGTH, HOLD = 8, 96, 24


def logs(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(2, EVENTS, (n, LENGTH), generator=g)
    rare = torch.rand(n, LENGTH, generator=g)
    x[rare < 0.04] = 0                                  # trigger
    x[rare > 0.97] = 1                                  # reset
    y = torch.zeros(n, LENGTH)
    left = torch.zeros(n, dtype=torch.long)
    for t in range(LENGTH):
        left = (left - 1).clamp(min=0)
        left[x[:, t] == 0] = HOLD
        left[x[:, t] == 1] = 0
        y[:, t] = (left > 0).float()
    return x, y


class Block(nn.Module):
    def __init__(self, width, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.conv = nn.Conv1d(width, width, 3, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x):
        h = F.relu(self.conv(F.pad(x, (self.pad, 0))))
        return F.relu(x + self.mix(h))


class AlarmNet(nn.Module):
    def __init__(self, chained, width=32, dilations=(1, 2, 4, 8)):
        super().__init__()
        self.embed = nn.Embedding(EVENTS, width)
        self.blocks = nn.ModuleList([Block(width, d) for d in dilations])
        self.head = nn.Conv1d(width, 1, 1)
        self.chained = chained

    def forward(self, events):
        x = self.embed(events).transpose(1, 2)
        if self.chained:
            for block in self.blocks:
                x = block(x)
            return self.head(x).squeeze(1)
        for block in self.blocks:
            out = block(x)
        return self.head(out).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = AlarmNet(chained=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.NAdam(model.parameters(), lr=2e-3),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "train_loader": DataLoader(TensorDataset(*logs(1000, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*logs(200, 2)), batch_size=100),
    }


@torch.no_grad()
def balanced_accuracy(model, loader):
    model.eval()
    out = torch.cat([model(x).flatten() > 0 for x, _ in loader])
    y = torch.cat([y.flatten() > 0.5 for _, y in loader])
    return (0.5 * (out[y].float().mean() + (~out[~y]).float().mean())).item()


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        for events, armed in p["train_loader"]:
            loss = p["loss_fn"](model(events), armed)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            opt.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, balanced accuracy {balanced_accuracy(model, p['val_loader']):.3f}")
    print(f"score: {balanced_accuracy(model, p['val_loader']):.4f}")
