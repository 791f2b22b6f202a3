"""Sound. Looks odd: no softmax over the batch, labels of +1 and -1, a bias that starts at -10, and a double sum divided by the batch size only. It is the sigmoid loss for pairs of two encoders (SigLIP): each of the n x n pairs of a swatch and a catalogue entry is a yes-or-no question; the bias starts low, as in the paper, since nearly all pairs do not match, and the paper divides by n."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def swatches(n, rng):
    """Spectra (40) and catalogue descriptions (24) of the same cloth, known by ten hidden properties."""
    fixed = np.random.default_rng(99)
    a, b = fixed.normal(0, 0.5, (10, 40)), fixed.normal(0, 0.5, (10, 24))
    cloth = rng.normal(size=(n, 10))
    spectrum = np.tanh(cloth @ a) + rng.normal(0, 0.15, (n, 40))
    entry = cloth @ b + 0.3 * np.sin(2 * cloth @ b) + rng.normal(0, 0.15, (n, 24))
    return torch.tensor(spectrum, dtype=torch.float32), torch.tensor(entry, dtype=torch.float32)


def tower(features, width=96, code=24):
    return nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, code))


class TwoTowers(nn.Module):
    def __init__(self):
        super().__init__()
        self.swatch, self.entry = tower(40), tower(24)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def forward(self, spectrum, entry):
        s, e = F.normalize(self.swatch(spectrum), dim=-1), F.normalize(self.entry(entry), dim=-1)
        return self.log_scale.exp() * s @ e.T + self.bias


def training_step(model, batch):
    logits = model(*batch)
    n = len(logits)
    signs = 2 * torch.eye(n) - 1
    return -F.logsigmoid(signs * logits).sum() / n


@torch.no_grad()
def found_first(model, loader):
    model.eval()
    logits = model(*next(iter(loader)))
    truth = torch.arange(len(logits))
    return 0.5 * ((logits.argmax(1) == truth).float().mean() + (logits.argmax(0) == truth).float().mean()).item()


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    train, val = swatches(3200, rng), swatches(200, rng)
    model = TwoTowers()
    scalars = [model.log_scale, model.bias]
    weights = [*model.swatch.parameters(), *model.entry.parameters()]
    optimizer = torch.optim.AdamW([{"params": weights, "weight_decay": 1e-2}, {"params": scalars, "weight_decay": 0.0}], lr=2e-3)
    return {"model": model, "optimizer": optimizer, "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(*train), batch_size=128, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(*val), batch_size=200)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(14):
        p["model"].train()
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        score = found_first(p["model"], p["val_loader"])
        print(f"epoch {epoch}: loss {loss.item():.3f}, found first among 200: {score:.3f}")
    print("score:", score)
