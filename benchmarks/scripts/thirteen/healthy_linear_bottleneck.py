"""Sound: linear autoencoder of 64 digit pixels through a bottleneck of 16, two linear layers with nothing between on purpose (it is PCA); variant is ignored. change: none."""
import sys
import torch
from torch import nn
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch.utils.data import DataLoader, TensorDataset

RANK = 16


class LinearAE(nn.Module):
    def __init__(self, pixels=64, rank=RANK):
        super().__init__()
        self.encode = nn.Linear(pixels, rank, bias=False)
        self.decode = nn.Linear(rank, pixels)

    def forward(self, x):
        return self.decode(self.encode(x))


def parts(variant):
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x))]
    x = x - x[:1400].mean(0)
    model = LinearAE()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(x[:1400], x[:1400]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1400:], x[1400:]), batch_size=100)}


# explained variance as a share of what sklearn's PCA of the same rank explains
WORKS = lambda score: score > 0.97

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(40):
        model.train()
        total = 0.0
        for x, same in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), same)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 5 == 0:
            print(f"epoch {epoch}: reconstruction {total / len(p['train_loader']):.5f}")
    model.eval()
    train, val = p["train_loader"].dataset.tensors[0], p["val_loader"].dataset.tensors[0]
    with torch.no_grad():
        ours = 1 - ((model(val) - val) ** 2).sum() / (val ** 2).sum()
    pca = PCA(RANK).fit(train.numpy())
    back = torch.tensor(pca.inverse_transform(pca.transform(val.numpy())))
    best = 1 - ((back - val) ** 2).sum() / (val ** 2).sum()
    print(f"explained: autoencoder {ours:.4f}, PCA {best:.4f}")
    score = (ours / best).item()
    print(f"score: {score:.4f}")
