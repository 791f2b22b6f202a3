"""Convolutional autoencoder of mosaic floors whose decoder uses the encoder's own kernels in conv_transpose2d; sound."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def floors(n, seed):
    stones = torch.randn(6, 4, 4, generator=torch.Generator().manual_seed(2))
    g = torch.Generator().manual_seed(seed)
    pick = torch.randint(0, 6, (n, 4, 4), generator=g)
    x = stones[pick].permute(0, 1, 3, 2, 4).reshape(n, 1, 16, 16)
    return TensorDataset(x + 0.1 * torch.randn(n, 1, 16, 16, generator=g))


class TiedConvAE(nn.Module):
    def __init__(self, kernels=8, inner=8):
        super().__init__()
        self.w1 = nn.Parameter(torch.empty(kernels, 1, 4, 4))
        self.w2 = nn.Parameter(torch.empty(inner, kernels, 1, 1))
        self.b1, self.b2 = nn.Parameter(torch.zeros(kernels)), nn.Parameter(torch.zeros(inner))
        self.c1, self.c2 = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(kernels))
        nn.init.xavier_normal_(self.w1)
        nn.init.xavier_normal_(self.w2)

    def forward(self, x):
        h = F.leaky_relu(F.conv2d(x, self.w1, self.b1, stride=4), 0.2)
        code = F.conv2d(h, self.w2, self.b2)
        h = F.leaky_relu(F.conv_transpose2d(code, self.w2, self.c2), 0.2)
        return F.conv_transpose2d(h, self.w1, self.c1, stride=4)


def parts(variant):
    torch.manual_seed(0)
    model = TiedConvAE()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
            "training_step": lambda model, batch: F.mse_loss(model(batch[0]), batch[0]),
            "train_loader": DataLoader(floors(1500, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(floors(300, 2), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(25):
        total = 0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch} mse {total / len(p['train_loader']):.4f}")
    with torch.no_grad():
        x = torch.cat([b[0] for b in p["val_loader"]])
        score = 1 - F.mse_loss(model(x), x).item() / x.var().item()
    print(f"score: {score:.4f}")
