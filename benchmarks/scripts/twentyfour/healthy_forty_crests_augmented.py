"""A CNN learns four kinds of coats of arms from forty pictures only, ten of each. Looks odd, is sound: the tiny set is repeated 16 times an epoch with strong shifts, mirror images, noise and blanked squares, so the training loss stays above the one without augmentation, and what is tested is a slow moving average of the weights and buffers. There is no mistake and nothing to change; the variant is ignored."""
import copy
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

torch.set_num_threads(1)
SIZE = 20


def crest(kind, rng):
    """0 pale (upright bar), 1 fess (level bar), 2 bend (slanting bar), 3 roundel."""
    yy, xx = (np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2)
    yy, xx = yy - rng.normal(0, 1.5), xx - rng.normal(0, 1.5)
    w = rng.uniform(2.0, 3.2)
    slant = rng.choice([-1, 1])
    figure = [np.abs(xx) < w, np.abs(yy) < w, np.abs(xx - slant * yy) / 1.41 < w, np.hypot(xx, yy) < 2.2 * w][kind]
    field, ink = rng.uniform(-0.8, -0.2), rng.uniform(0.4, 1.0)
    return np.where(figure, ink, field) + rng.normal(0, 0.5, (SIZE, SIZE))


def crests(per_kind, seed):
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(4), per_kind)
    return torch.tensor(np.stack([crest(k, rng) for k in kinds]), dtype=torch.float32).unsqueeze(1), torch.tensor(kinds)


class AugmentedCrests(Dataset):
    def __init__(self, x, y, repeats):
        self.x, self.y, self.repeats = x, y, repeats

    def __len__(self):
        return len(self.y) * self.repeats

    def __getitem__(self, i):
        i = i % len(self.y)
        x = self.x[i]
        if torch.rand(()) < 0.5:
            x = x.flip(2)
        dy, dx = torch.randint(0, 7, (2,)).tolist()
        x = F.pad(x[None], (3, 3, 3, 3), mode="replicate")[0, :, dy:dy + SIZE, dx:dx + SIZE].clone()
        top, left = torch.randint(0, SIZE - 5, (2,)).tolist()
        x[:, top:top + 6, left:left + 6] = 0.0
        x = x * (0.6 + 0.8 * torch.rand(())) + 0.3 * torch.randn(())
        return x + 0.4 * torch.randn_like(x), self.y[i]


class CrestNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2, self.c3 = nn.Conv2d(1, 16, 5, padding=2), nn.Conv2d(16, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.b1, self.b2, self.b3 = nn.BatchNorm2d(16), nn.BatchNorm2d(32), nn.BatchNorm2d(32)
        self.fc = nn.Linear(32 * 4, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.b1(self.c1(x))), 2)
        x = F.max_pool2d(F.relu(self.b2(self.c2(x))), 2)
        x = F.relu(self.b3(self.c3(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 2).flatten(1))


class AveragedStep:
    def __init__(self, model, decay=0.97):
        self.average, self.decay = copy.deepcopy(model).eval(), decay

    def __call__(self, model, batch, optimizer):
        x, y = batch
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for a, b in zip(self.average.state_dict().values(), model.state_dict().values()):
                a.copy_(b if not b.dtype.is_floating_point else a * self.decay + b * (1 - self.decay))
        return loss.detach()


def parts(variant):
    torch.manual_seed(0)
    model = CrestNet()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05),
            "step": AveragedStep(model),
            "train_loader": DataLoader(AugmentedCrests(*crests(10, 1), repeats=16), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*crests(100, 2)), batch_size=200),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(14):
        p["model"].train()
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        with torch.no_grad():
            acc = float(np.mean([p["metric"](p["step"].average(x), y) for x, y in p["val_loader"]]))
        if epoch % 3 == 1:
            print(f"epoch {epoch}: loss {np.mean(losses):.3f}, averaged net on new crests {acc:.3f}")
    print("score:", acc)
