"""Kinds of shells from a contour given as 64 distances, a 1-d version of the official MNIST example with its StepLR(step_size=1, gamma=0.7); bad: scheduler.step() has slipped into the batch, so that the learning rate is gone after some twenty batches; change: once an epoch."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.optim.lr_scheduler import StepLR


def shells(n, seed):
    g = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 7, (n,), generator=g)
    phi = torch.arange(64) * 2 * torch.pi / 64
    lobes = torch.tensor([2.0, 3.0, 4.0, 5.0, 6.0, 2.0, 3.0])[target][:, None]
    turn = 2 * torch.pi * torch.rand(n, 1, generator=g)
    size = 1 + 0.15 * torch.randn(n, 1, generator=g)
    wave = torch.cos(lobes * phi + turn)
    wave = torch.where((target > 4)[:, None], wave.abs(), wave)
    contour = size + 0.25 * wave + 0.08 * torch.cos(phi + 3 * turn) + 0.06 * torch.randn(n, 64, generator=g)
    return torch.utils.data.TensorDataset((contour[:, None] - 1) / 0.25, target)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv1d(1, 16, 5, padding=2, padding_mode="circular")
        self.conv2 = nn.Conv1d(16, 32, 5, padding=2, padding_mode="circular")
        self.dropout1 = nn.Dropout(0.1)
        self.fc1 = nn.Linear(32 * 16, 64)
        self.fc2 = nn.Linear(64, 7)

    def forward(self, x):
        x = F.max_pool1d(F.relu(self.conv1(x)), 2)
        x = F.max_pool1d(F.relu(self.conv2(x)), 2)
        x = self.dropout1(torch.flatten(x, 1))
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return F.log_softmax(x, dim=1)


def parts(variant, lr=0.02, gamma=0.7):
    torch.manual_seed(0)
    model = Net()
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    scheduler = StepLR(optimizer, step_size=1, gamma=gamma)

    def train_step(model, batch, optimizer):
        data, target = batch
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        if variant == "bad":
            scheduler.step()
        return loss

    result = {"model": model, "optimizer": optimizer, "step": train_step,
              "train_loader": torch.utils.data.DataLoader(shells(3200, 1), batch_size=64, shuffle=True),
              "val_loader": torch.utils.data.DataLoader(shells(700, 2), batch_size=100)}
    if variant != "bad":
        result["scheduler"] = scheduler
    return result


WORKS = lambda score: score > 85


def test(model, test_loader):
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for data, target in test_loader:
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            correct += (output.argmax(dim=1) == target).sum().item()
    n = len(test_loader.dataset)
    print("Test set: Average loss: {:.4f}, Accuracy: {}/{} ({:.0f}%)".format(test_loss / n, correct, n, 100.0 * correct / n))
    return 100.0 * correct / n


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", default="fixed")
    parser.add_argument("--epochs", type=int, default=8)
    args = parser.parse_args()
    p = parts(args.variant)
    for epoch in range(1, args.epochs + 1):
        p["model"].train()
        for batch_idx, batch in enumerate(p["train_loader"]):
            loss = p["step"](p["model"], batch, p["optimizer"])
            if batch_idx % 25 == 0:
                print("Train Epoch: {} [{}/{}]\tLoss: {:.6f}".format(epoch, batch_idx, len(p["train_loader"]), loss.item()))
        score = test(p["model"], p["val_loader"])
        if "scheduler" in p:
            p["scheduler"].step()
    print(f"score: {score:.4f}")
