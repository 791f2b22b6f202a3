"""A digit CNN with squeeze-and-excite gates is pretrained on the digits 0 to 4 and then retrained for 5 to 9, only the head is to be trained; bad: parameters with "fc" in their name are left free, but the head is called "classifier" and only the gates match; change: unfreeze "classifier"."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class SEBlock(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o)
        self.fc1, self.fc2 = nn.Linear(o, 4), nn.Linear(4, o)

    def forward(self, x):
        x = F.relu(self.bn(self.conv(x)))
        gate = torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


class SENet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.block1, self.block2 = SEBlock(1, 12), SEBlock(12, 24)
        self.classifier = nn.Linear(24 * 4, classes)

    def forward(self, x):
        x = F.max_pool2d(self.block1(x), 2)
        return self.classifier(F.max_pool2d(self.block2(x), 2).flatten(1))


def halves():
    d = load_digits()
    x = torch.tensor(d.images / 16, dtype=torch.float32).unsqueeze(1)
    y = torch.tensor(d.target)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(4))
    x, y = x[order], y[order]
    low = y < 5
    return (x[low], y[low]), (x[~low], y[~low] - 5)


def pretrain(x, y):
    torch.manual_seed(1)
    net = SENet(5)
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(8):
        for i in torch.randperm(len(y)).split(50):
            opt.zero_grad()
            F.cross_entropy(net(x[i]), y[i]).backward()
            opt.step()
    return net


def parts(variant):
    (x0, y0), (x, y) = halves()
    model = pretrain(x0, y0)
    torch.manual_seed(0)
    model.classifier = nn.Linear(24 * 4, 5)
    key = "fc" if variant == "bad" else "classifier"
    for name, param in model.named_parameters():
        param.requires_grad = key in name
    optimizer = torch.optim.Adam(filter(lambda q: q.requires_grad, model.parameters()), lr=2e-3)
    return dict(model=model, optimizer=optimizer, loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(TensorDataset(x[:650], y[:650]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[650:], y[650:]), batch_size=125))


# accuracy on the digits 5 to 9
WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(15):
        model.train()
        total = 0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch + 1} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        ok = torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]])
    score = ok.float().mean().item()
    print(f"score: {score:.4f}")
