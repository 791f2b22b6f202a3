"""A convnet is trained on the digits 0 to 4 and then fine-tuned on 200 examples of 5 to 9 with a new head, the body at a tenth of the head's rate. Sound: the weights really are loaded, the head is changed before the optimizer is made, the body stays in train mode with all parameters trained."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


class DigitNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Linear(128, classes)

    def forward(self, x):
        return self.head(self.body(x))


def digit_sets():
    d = load_digits()
    X = torch.tensor((d.images[:, None] - 4.88) / 6.02, dtype=torch.float32)
    y = torch.tensor(d.target)
    low, high = y < 5, y >= 5
    order = torch.randperm(int(high.sum()), generator=torch.Generator().manual_seed(0))
    Xh, yh = X[high][order], y[high][order] - 5
    return TensorDataset(X[low], y[low]), TensorDataset(Xh[:200], yh[:200]), TensorDataset(Xh[200:], yh[200:])


def pretrain(low):
    net = DigitNet(5)
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    net.train()
    for epoch in range(6):
        for x, y in DataLoader(low, batch_size=64, shuffle=True):
            opt.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            opt.step()
    return net.state_dict()


def parts(variant):
    torch.manual_seed(0)
    low, few, rest = digit_sets()
    model = DigitNet(5)
    model.load_state_dict(pretrain(low))
    model.head = nn.Linear(128, 5)          # other digits, other head
    opt = torch.optim.Adam([{"params": model.body.parameters(), "lr": 2e-4}, {"params": model.head.parameters(), "lr": 2e-3}])
    return {"model": model, "optimizer": opt, "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(few, batch_size=20, shuffle=True), "val_loader": DataLoader(rest, batch_size=100),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(30):
        model.train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
        if epoch % 6 == 5:
            print(f"epoch {epoch + 1} loss {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        hits = [(model(x).argmax(1) == y).float() for x, y in p["val_loader"]]
    print("score:", torch.cat(hits).mean().item())
