"""Multi-label CNN for kitchen pictures (eight utensils), the forward pass under bfloat16 autocast on the CPU, the loss in float32; sound."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def kitchens(n, seed):
    tools = torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(44))
    g = torch.Generator().manual_seed(seed)
    y = (torch.rand(n, 8, generator=g) < 0.3).float()
    x = 0.3 * torch.randn(n, 3, 20, 20, generator=g)
    for i, k in y.nonzero().tolist():
        r, c = torch.randint(0, 15, (2,), generator=g).tolist()
        x[i, :, r:r + 5, c:c + 5] += tools[k]
    return TensorDataset(x, y)


class UtensilNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 32, 5, padding=2), nn.BatchNorm2d(32), nn.ReLU(),
                                      nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
                                      nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.tags = nn.Linear(32, 8)

    def forward(self, x):
        return self.tags(self.features(x))


criterion = nn.BCEWithLogitsLoss()


def training_step(model, batch):
    x, y = batch
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(x)
    return criterion(logits.float(), y)


def parts(variant):
    torch.manual_seed(0)
    model = UtensilNet()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=4e-3), "training_step": training_step,
            "train_loader": DataLoader(kitchens(1000, 1), batch_size=40, shuffle=True),
            "val_loader": DataLoader(kitchens(240, 2), batch_size=80)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(8):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")
    model.eval()
    tp = off = 0
    with torch.no_grad():
        for x, y in p["val_loader"]:
            said = (model(x) > 0).float()
            tp += (said * y).sum().item()
            off += (said != y).sum().item()
    print(f"score: {2 * tp / (2 * tp + off):.4f}")
