"""Sound: MLP on the 30 columns of the breast cancer table with dropout 0.7 after each hidden layer and weight decay; at the start the training loss is above the validation loss; variant is ignored. change: none."""
import sys
import numpy as np
import torch
from torch import nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def tables():
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    scaler = StandardScaler().fit(X_train)
    as_set = lambda X, y: TensorDataset(torch.tensor(scaler.transform(X), dtype=torch.float32), torch.tensor(y))
    return as_set(X_train, y_train), as_set(X_val, y_val)


class DropNet(nn.Module):
    def __init__(self, sizes=(30, 128, 128), p=0.7, classes=2):
        super().__init__()
        layers = []
        for a, b in zip(sizes, sizes[1:]):
            layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(p)]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))

    def forward(self, x):
        return self.layers(x)


def parts(variant):
    torch.manual_seed(0)
    train, val = tables()
    model = DropNet()
    return {"model": model,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True),
            "val_loader": DataLoader(val, batch_size=143)}


WORKS = lambda score: score > 0.92

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, ce = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        model.train()
        train_losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = ce(model(x), y)
            loss.backward()
            opt.step()
            train_losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            (x, y), = p["val_loader"]
            logits = model(x)
            val_loss, acc = ce(logits, y).item(), (logits.argmax(1) == y).float().mean().item()
        if epoch % 4 == 0:
            print(f"epoch {epoch}: train {np.mean(train_losses):.4f} val {val_loss:.4f} acc {acc:.3f}")
    score = acc
    print(f"score: {score:.4f}")
