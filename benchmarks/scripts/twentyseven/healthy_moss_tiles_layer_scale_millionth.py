"""A small isotropic ConvNeXt names the moss on roof tile photographs. Odd, but right: every residual branch begins with a scale of a millionth (layer scale), so that branch weights get gradients near zero in the first steps, whole branches are dropped at random per example while training (stochastic depth), and NAdam decays the weights apart from the gradient. Score: held-out accuracy."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIDE, MOSSES = 20, 5


def photograph(n, g):
    """Textures: five mosses differ in grain size, direction and spottedness."""
    kind = torch.randint(0, MOSSES, (n,), generator=g)
    noise = torch.randn(n, 1, SIDE + 8, SIDE + 8, generator=g)
    lin = torch.arange(-4, 5).float()
    yy, xx = torch.meshgrid(lin, lin, indexing="ij")
    widths = [(0.6, 0.6), (1.6, 1.6), (0.6, 2.2), (2.2, 0.6), (1.1, 1.1)]
    images = torch.empty(n, 1, SIDE, SIDE)
    for k, (sx, sy) in enumerate(widths):
        kernel = torch.exp(-0.5 * ((xx / sx) ** 2 + (yy / sy) ** 2))
        kernel = kernel / kernel.norm()
        images[kind == k] = F.conv2d(noise[kind == k], kernel[None, None])
    images = images * (0.7 + 0.6 * torch.rand(n, 1, 1, 1, generator=g)) + 0.4 * torch.randn(n, 1, SIDE, SIDE, generator=g)
    return images, kind


class Block(nn.Module):
    def __init__(self, dim, drop):
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.widen, self.narrow = nn.Linear(dim, 3 * dim), nn.Linear(3 * dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), 1e-6))
        self.drop = drop

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = (self.gamma * self.narrow(F.gelu(self.widen(y)))).permute(0, 3, 1, 2)
        if self.training and self.drop > 0:
            keep = torch.rand(len(x), 1, 1, 1) >= self.drop
            y = y * keep / (1 - self.drop)
        return x + y


class MossNet(nn.Module):
    def __init__(self, dim=16, depth=4):
        super().__init__()
        self.stem = nn.Conv2d(1, dim, 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*[Block(dim, 0.1 * i / (depth - 1)) for i in range(depth)])
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, MOSSES)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.stem(x)).mean((2, 3))))


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean().item()


def parts(variant):
    torch.manual_seed(23)
    g = torch.Generator().manual_seed(230)
    train, held = TensorDataset(*photograph(1200, g)), TensorDataset(*photograph(400, g))
    model = MossNet()
    optimizer = torch.optim.NAdam(model.parameters(), lr=3e-3, weight_decay=0.05, decoupled_weight_decay=True)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "train_loader": DataLoader(train, batch_size=50, shuffle=True), "val_loader": DataLoader(held, batch_size=200)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts("fixed")
    model = p["model"]
    for epoch in range(5):
        model.train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
        model.eval()
        with torch.no_grad():
            score = sum(p["metric"](model(x), y) for x, y in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch}: loss {loss.item():.3f} accuracy {score:.3f} gamma {model.blocks[0].gamma.abs().mean().item():.4f}")
    print("score:", score)
