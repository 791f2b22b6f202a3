"""Healthy: the super-resolution example, a sub-pixel convolution net with orthogonal weights doubles the size of blurred shapes; no activation after the last convolution, targets between 0 and 1, a loss that is small from early on. change: nothing, it is sound."""
import sys
from math import log10

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.nn import init
from torch.utils.data import DataLoader, Dataset


class Shapes(Dataset):
    def __init__(self, n, seed, size=16, upscale_factor=2):
        g = torch.Generator().manual_seed(seed)
        ys, xs = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        images = torch.zeros(n, size, size)
        for image in images:
            for _ in range(3):
                cy, cx, r = torch.randint(2, size - 2, (2,), generator=g).tolist() + torch.randint(1, 5, (1,), generator=g).tolist()
                inside = (ys - cy).abs().maximum((xs - cx).abs()) <= r
                image[inside] = torch.rand(1, generator=g)
        self.target = images.unsqueeze(1)
        self.input = F.avg_pool2d(self.target, upscale_factor)

    def __getitem__(self, index):
        return self.input[index], self.target[index]

    def __len__(self):
        return len(self.input)


class Net(nn.Module):
    def __init__(self, upscale_factor):
        super().__init__()
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(1, 32, (5, 5), (1, 1), (2, 2))
        self.conv2 = nn.Conv2d(32, 32, (3, 3), (1, 1), (1, 1))
        self.conv3 = nn.Conv2d(32, 16, (3, 3), (1, 1), (1, 1))
        self.conv4 = nn.Conv2d(16, upscale_factor ** 2, (3, 3), (1, 1), (1, 1))
        self.pixel_shuffle = nn.PixelShuffle(upscale_factor)
        self._initialize_weights()

    def forward(self, x):
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        x = self.relu(self.conv3(x))
        return self.pixel_shuffle(self.conv4(x))

    def _initialize_weights(self):
        init.orthogonal_(self.conv1.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv2.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv3.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv4.weight)


def parts(variant):
    torch.manual_seed(0)
    model = Net(upscale_factor=2)
    return dict(
        model=model,
        optimizer=optim.Adam(model.parameters(), lr=0.001),
        loss_fn=nn.MSELoss(),
        train_loader=DataLoader(Shapes(1000, 1), batch_size=16, shuffle=True),
        val_loader=DataLoader(Shapes(100, 2), batch_size=100),
    )


# decibels gained over bilinear enlargement
WORKS = lambda score: score > 2.0

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1, 16):
        epoch_loss = 0
        for input, target in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(input), target)
            epoch_loss += loss.item()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: avg. loss {epoch_loss / len(p['train_loader']):.5f}")
    with torch.no_grad():
        input, target = next(iter(p["val_loader"]))
        psnr = 10 * log10(1 / criterion(model(input), target).item())
        plain = F.interpolate(input, scale_factor=2, mode="bilinear", align_corners=False)
        score = psnr - 10 * log10(1 / criterion(plain, target).item())
    print(f"score: {score:.4f}")
