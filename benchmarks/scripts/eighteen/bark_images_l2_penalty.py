"""CNN for ten kinds of tree bark; a hand-written L2 penalty sums the squares of all weights and enters the loss with factor 0.5, so the weights shrink to nothing. change: factor 1e-4."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def bark(n, seed):
    kernels = torch.randn(10, 1, 5, 5, generator=torch.Generator().manual_seed(7)) / 5
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 10, (n,), generator=g)
    raw = torch.randn(n, 1, 24, 24, generator=g)
    x = F.conv2d(raw.view(1, n, 24, 24), kernels[y], groups=n).view(n, 1, 20, 20)
    return TensorDataset(x * (1 + 0.2 * torch.randn(n, 1, 1, 1, generator=g)), y)


class BarkNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 24, 5)
        self.conv2 = nn.Conv2d(24, 32, 3, padding=1)
        self.fc1 = nn.Linear(32, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.relu(self.conv2(x)).mean((2, 3))
        return self.fc2(F.relu(self.fc1(x)))


def parts(variant):
    torch.manual_seed(0)
    model = BarkNet()
    l2_lambda = 0.5 if variant == "bad" else 1e-4

    def training_step(model, batch):
        x, y = batch
        loss = F.cross_entropy(model(x), y)
        l2_reg = sum((w ** 2).sum() for w in model.parameters())
        return loss + l2_lambda * l2_reg

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "training_step": training_step,
            "train_loader": DataLoader(bark(2000, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(bark(400, 2), batch_size=100)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}/12 loss {sum(losses) / len(losses):.4f}")
    model.eval()
    with torch.no_grad():
        score = torch.cat([(model(x).argmax(1) == y).float() for x, y in p["val_loader"]]).mean().item()
    print(f"score: {score:.4f}")
