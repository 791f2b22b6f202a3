"""Shift between two pictures of the same tissue (registration), CNN on both, smooth L1, NAdam; the loop's step stacks the fixed picture with itself in place of the moving one, so the pair says nothing of the shift; change: stack the moving one."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SIZE, REACH = 24, 4


def pairs(n, seed):
    g = torch.Generator().manual_seed(seed)
    wide = torch.randn(n, 1, SIZE + 2 * REACH, SIZE + 2 * REACH, generator=g)
    wide = F.avg_pool2d(F.avg_pool2d(wide, 3, 1, 1), 3, 1, 1)
    wide = wide / wide.std()
    shift = torch.randint(-REACH, REACH + 1, (n, 2), generator=g)
    fixed = wide[:, :, REACH:REACH + SIZE, REACH:REACH + SIZE]
    moving = torch.stack([wide[i, :, REACH + dy:REACH + dy + SIZE, REACH + dx:REACH + dx + SIZE] for i, (dy, dx) in enumerate(shift.tolist())])
    noise = 0.1 * torch.randn(2, n, 1, SIZE, SIZE, generator=g)
    return fixed + noise[0], moving + noise[1], shift.float() / REACH


class ShiftNet(nn.Module):
    """Correlates the features of both pictures over the possible shifts and reads the shift from the map."""

    def __init__(self, c=8):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1))
        side = 2 * REACH + 1
        self.head = nn.Sequential(nn.Linear(side * side, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, both):
        a, b = self.features(both[:, :1]), self.features(both[:, 1:])
        inner = b[:, :, REACH:-REACH, REACH:-REACH]
        patches = a.unfold(2, inner.shape[2], 1).unfold(3, inner.shape[3], 1)  # (batch, channels, 9, 9, h, w)
        corr = (patches * inner[:, :, None, None]).mean((1, 4, 5))
        corr = corr.flatten(1)
        return self.head((corr - corr.mean(1, keepdim=True)) / (corr.std(1, keepdim=True) + 1e-5))


def stack(batch, bad):
    fixed, moving, _ = batch
    return torch.cat([fixed, fixed], 1) if bad else torch.cat([fixed, moving], 1)


def parts(variant):
    torch.manual_seed(0)
    bad = variant == "bad"
    model = ShiftNet()

    def step(model, batch, optimizer):
        predicted = model(stack(batch, bad))
        loss = F.smooth_l1_loss(predicted, batch[2], beta=0.3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return {
        "model": model,
        "optimizer": torch.optim.NAdam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(TensorDataset(*pairs(1200, 1)), batch_size=30, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*pairs(300, 2)), batch_size=100),
        "step": step,
    }


@torch.no_grad()
def within_a_pixel(model, loader):
    model.eval()
    good = [((model(torch.cat([f, m], 1)) - s).abs().amax(1) * REACH < 1).float() for f, m, s in loader]
    return torch.cat(good).mean().item()


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(10):
        p["model"].train()
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch + 1}: {sum(losses) / len(losses):.4f}, within a pixel {within_a_pixel(p['model'], p['val_loader']):.3f}")
    print(f"score: {within_a_pixel(p['model'], p['val_loader']):.4f}")
