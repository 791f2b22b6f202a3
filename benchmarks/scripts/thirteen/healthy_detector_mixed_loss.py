"""Sound: one-box detector (is there a disc, where and how large, and how sure: a pairwise ranking term over the N x N differences of the scores), four loss terms of different weight; variant is ignored. change: none."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SIZE = 20


def scenes(n, seed):
    g = torch.Generator().manual_seed(seed)
    present = (torch.rand(n, generator=g) < 0.7).float()
    box = torch.rand(n, 3, generator=g) * torch.tensor([12.0, 12.0, 2.5]) + torch.tensor([4.0, 4.0, 2.0])  # x, y, radius
    yy, xx = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    distance = ((xx - box[:, 0, None, None]) ** 2 + (yy - box[:, 1, None, None]) ** 2).sqrt()
    disc = torch.sigmoid(3 * (box[:, 2, None, None] - distance)) * present[:, None, None]
    image = 0.8 * disc + 0.3 * torch.randn(n, SIZE, SIZE, generator=g)
    return TensorDataset(image.unsqueeze(1), present, box / SIZE)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(24 * 25, 64), nn.ReLU())
        self.presence = nn.Linear(64, 1)
        self.centre = nn.Linear(64, 2)
        self.radius = nn.Linear(64, 1)

    def forward(self, image):
        h = self.features(image)
        return self.presence(h).squeeze(1), torch.sigmoid(self.centre(h)), F.softplus(self.radius(h)).squeeze(1)


def detection_loss(model, batch):
    image, present, box = batch
    logit, centre, radius = model(image)
    objectness = F.binary_cross_entropy_with_logits(logit, present)
    count = present.sum().clamp(min=1)
    where = (present[:, None] * (centre - box[:, :2]).abs()).sum() / count
    size = (present * (radius - box[:, 2]).abs()).sum() / count
    above = (present[:, None] > present[None, :]).float()
    rank = (above * F.relu(1 - (logit[:, None] - logit[None, :]))).sum() / above.sum().clamp(min=1)
    return objectness + 5.0 * where + 10.0 * size + 0.2 * rank


def parts(variant):
    torch.manual_seed(0)
    model = Detector()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "training_step": detection_loss,
            "train_loader": DataLoader(scenes(1500, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(scenes(300, 2), batch_size=150)}


# share of images judged right: no disc and none said, or a disc said and its centre within 1.5 pixels
WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        net.train()
        losses = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](net, batch)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}")
    net.eval()
    good = 0
    with torch.no_grad():
        for image, present, box in p["val_loader"]:
            logit, centre, _ = net(image)
            off = ((centre - box[:, :2]) * SIZE).norm(dim=1)
            said = logit > 0
            good += torch.where(present > 0, said & (off < 1.5), ~said).sum().item()
    score = good / 300
    print(f"score: {score:.4f}")
