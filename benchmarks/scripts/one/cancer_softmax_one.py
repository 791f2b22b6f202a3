"""Binary classifier of the breast cancer table; softmax over a single output is 1 for every example, so the probability is constant and the gradient zero; the right change: a sigmoid (or BCEWithLogitsLoss on the raw output)."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


class BinaryClassification(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.layer_1 = nn.Linear(30, 64)
        self.layer_2 = nn.Linear(64, 64)
        self.layer_out = nn.Linear(64, 1)
        self.relu = nn.ReLU()
        self.batchnorm1 = nn.BatchNorm1d(64)
        self.last = last

    def forward(self, inputs):
        x = self.batchnorm1(self.relu(self.layer_1(inputs)))
        x = self.relu(self.layer_2(x))
        return self.last(self.layer_out(x))


def parts(variant):
    torch.manual_seed(69)
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.33, random_state=69)
    scaler = StandardScaler().fit(X_train)
    tens = lambda a, b: TensorDataset(torch.FloatTensor(scaler.transform(a)), torch.FloatTensor(b).unsqueeze(1))
    model = BinaryClassification(nn.Softmax(dim=1) if variant == "bad" else nn.Sigmoid())
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=0.001), loss_fn=nn.BCELoss(),
                train_loader=DataLoader(tens(X_train, y_train), batch_size=64, shuffle=True),
                val_loader=DataLoader(tens(X_test, y_test), batch_size=64))


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for e in range(1, 31):
        model.train()
        epoch_loss = 0
        for X_batch, y_batch in p["train_loader"]:
            optimizer.zero_grad()
            y_pred = model(X_batch)
            loss = criterion(y_pred, y_batch)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
        if e % 5 == 0: print(f"Epoch {e:03}: | Loss: {epoch_loss / len(p['train_loader']):.5f}")
    model.eval()
    with torch.no_grad():
        ok = torch.cat([(model(x).round() == y).float() for x, y in p["val_loader"]])
    print("score:", ok.mean().item())
