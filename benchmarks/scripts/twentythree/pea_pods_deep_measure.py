"""Deep plain convolutional network (fifteen convolutions) that measures length, tilt and number of peas of a pod in a picture. The mistake: no normalisation layer anywhere, so with the default initialisation the signal fades on the way and the output stays at the mean; the right change: BatchNorm2d after each convolution."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def pods(n, seed, size=20):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:size, :size].astype(np.float32)
    X, Y = [], []
    for _ in range(n):
        length, tilt, peas = rng.uniform(5, 9), rng.uniform(-0.8, 0.8), rng.integers(2, 6)
        cx, cy = rng.uniform(8.5, 11.5, 2)
        u = (xx - cx) * np.cos(tilt) + (yy - cy) * np.sin(tilt)
        w = -(xx - cx) * np.sin(tilt) + (yy - cy) * np.cos(tilt)
        img = 0.5 * ((u / length) ** 2 + (w / 2.5) ** 2 < 1)
        for k in range(peas):
            c = -length * 0.7 + 1.4 * length * k / (peas - 1)
            img = img + 0.5 * np.exp(-((u - c) ** 2 + w ** 2) / 1.2)
        X.append(img + 0.05 * rng.standard_normal(img.shape))
        Y.append([(length - 7) / 1.15, tilt / 0.46, (peas - 3.5) / 1.12])
    return torch.tensor(np.array(X), dtype=torch.float32)[:, None] - 0.2, torch.tensor(Y, dtype=torch.float32)


def conv(n_in, n_out, variant, stride=1):
    if variant == "bad":
        return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, 1), nn.ReLU())
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, 1), nn.BatchNorm2d(n_out), nn.ReLU())


class PodNet(nn.Module):
    def __init__(self, variant):
        super().__init__()
        layers = [conv(1, 12, variant, 2)]
        layers += [conv(12, 12, variant) for _ in range(6)]
        layers += [conv(12, 24, variant, 2)]
        layers += [conv(24, 24, variant) for _ in range(7)]
        self.convs = nn.Sequential(*layers)
        self.fc = nn.Linear(24 * 25, 3)

    def forward(self, x):
        return self.fc(self.convs(x).flatten(1))


def r2(out, y):
    return (1 - ((out - y) ** 2).mean(0) / y.var(0)).mean().item()


def parts(variant):
    torch.manual_seed(19)
    X, Y = pods(1600, 1)
    Xv, Yv = pods(300, 2)
    net = PodNet(variant)
    return {"model": net, "optimizer": torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(X, Y), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(Xv, Yv), batch_size=400), "metric": r2}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    scores = []
    for epoch in range(7):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            scores.append(np.mean([r2(net(x), y) for x, y in p["val_loader"]]))
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}  r2 {scores[-1]:.3f}")
    print("score:", np.mean(scores[-3:]))
