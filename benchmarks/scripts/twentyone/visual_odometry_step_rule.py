"""Net that estimates the motion of a camera between two frames; the mistake (bad): with a scheduler given, the step calls scheduler.step() in place of optimizer.step(), so the weights never move; change: optimizer.step() in any case."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def frames(n, seed, size=20):
    g = torch.Generator().manual_seed(seed)
    shift = torch.rand(n, 2, generator=g) * 4 - 2
    yy, xx = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    freq = torch.randn(n, 6, 2, generator=g) * 6
    phase = torch.rand(n, 6, generator=g) * 6.283

    def render(s):
        u = xx + s[:, 0, None, None] / size
        v = yy + s[:, 1, None, None] / size
        arg = freq[:, :, 0, None, None] * u[:, None] + freq[:, :, 1, None, None] * v[:, None] + phase[:, :, None, None]
        return torch.sin(arg).mean(1)

    pair = torch.stack([render(torch.zeros(n, 2)), render(shift)], 1)
    return TensorDataset(pair + 0.01 * torch.randn(pair.shape, generator=g), shift)


class PoseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 24, 5, stride=2, padding=2), nn.ReLU(inplace=True),
            nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.ReLU(inplace=True),
            nn.Flatten(), nn.Linear(48 * 25, 128), nn.ReLU(inplace=True))
        self.pose = nn.Linear(128, 2)

    def forward(self, pair):
        return self.pose(self.features(pair))


def parts(variant):
    torch.manual_seed(0)
    model = PoseNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    train_loader = DataLoader(frames(3000, 1), batch_size=48, shuffle=True)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5 * len(train_loader), gamma=0.5)
    criterion = nn.SmoothL1Loss()

    def step(model, batch, optimizer):
        pair, shift = batch
        optimizer.zero_grad()
        loss = criterion(model(pair), shift)
        loss.backward()
        if variant == "bad":
            if scheduler:
                scheduler.step()
            else:
                optimizer.step()
        else:
            optimizer.step()
            if scheduler:
                scheduler.step()
        return loss.detach()

    return {"model": model, "optimizer": optimizer, "step": step, "train_loader": train_loader,
            "val_loader": DataLoader(frames(400, 2), batch_size=100)}


WORKS = lambda score: score < 0.6  # mean absolute error in pixels (a constant guess is off by 1.0)

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(1, 16):
        p["model"].train()
        mean = sum(p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]) / len(p["train_loader"])
        if epoch % 3 == 0:
            print("epoch %2d  loss %.4f  rate %.1e" % (epoch, mean, p["optimizer"].param_groups[0]["lr"]))
    p["model"].eval()
    with torch.no_grad():
        err = torch.cat([(p["model"](x) - y).abs() for x, y in p["val_loader"]])
    score = err.mean().item()
    print(f"score: {score:.4f}")
