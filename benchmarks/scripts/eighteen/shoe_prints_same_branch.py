"""Siamese network that says whether two shoe prints come from one sole; forward runs the first image through both branches, so the distance is always about zero. change: the second branch gets the second image."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch.utils.data import Dataset, DataLoader


class PrintPairs(Dataset):
    def __init__(self, n, soles, seed):
        g = torch.Generator().manual_seed(seed)
        soles = F.interpolate(torch.randn(soles, 1, 6, 6, generator=g), size=20)
        a = torch.randint(0, len(soles), (n,), generator=g)
        same = torch.rand(n, generator=g) < 0.5
        b = torch.where(same, a, (a + torch.randint(1, len(soles), (n,), generator=g)) % len(soles))
        noise = lambda: 0.7 * torch.randn(n, 1, 20, 20, generator=g)
        self.left, self.right, self.same = soles[a] + noise(), soles[b] + noise(), same.float()

    def __len__(self):
        return len(self.same)

    def __getitem__(self, i):
        return self.left[i], self.right[i], self.same[i]


class SiameseNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                                 nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2))
        self.fc = nn.Sequential(nn.Linear(32 * 25, 64), nn.ReLU(), nn.Linear(64, 16))

    def forward_once(self, x):
        return self.fc(self.cnn(x).flatten(1))

    def forward(self, input1, input2):
        output1 = self.forward_once(input1)
        output2 = self.forward_once(input2)
        return output1, output2


class SiameseNetworkV1(SiameseNetwork):
    def forward(self, input1, input2):
        output1 = self.forward_once(input1)
        output2 = self.forward_once(input1)
        return output1, output2


def contrastive(model, batch, margin=2.0):
    left, right, same = batch
    d = F.pairwise_distance(*model(left, right))
    return (same * d ** 2 + (1 - same) * F.relu(margin - d) ** 2).mean()


def parts(variant):
    torch.manual_seed(0)
    model = SiameseNetworkV1() if variant == "bad" else SiameseNetwork()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": contrastive,
            "train_loader": DataLoader(PrintPairs(2000, 150, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(PrintPairs(400, 60, 2), batch_size=100)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        history = []
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            history.append(loss.item())
        print(f"Epoch {epoch}, contrastive loss {sum(history) / len(history):.4f}")
    model.eval()
    with torch.no_grad():
        dist = torch.cat([F.pairwise_distance(*model(l, r)) for l, r, _ in p["val_loader"]])
    same = torch.cat([s for _, _, s in p["val_loader"]])
    print(f"score: {roc_auc_score(same, -dist):.4f}")
