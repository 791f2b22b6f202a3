"""Small network for the diabetes table of scikit-learn; bad: the output is (N, 1) and the target (N,), MSELoss broadcasts the pair to (N, N) and the network learns the mean; change: the target is given as a column."""
import sys
import warnings
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset

warnings.filterwarnings("ignore")


class DiabetesDataset(Dataset):
    def __init__(self, X, y):
        self.X = torch.tensor(X, dtype=torch.float32)
        self.y = torch.tensor(y, dtype=torch.float32)

    def __len__(self):
        return self.X.shape[0]

    def __getitem__(self, index):
        return self.X[index], self.y[index]


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.hidden1 = nn.Linear(10, 32)
        self.hidden2 = nn.Linear(32, 16)
        self.predict = nn.Linear(16, 1)

    def forward(self, x):
        x = F.relu(self.hidden1(x))
        x = F.relu(self.hidden2(x))
        return self.predict(x)


def parts(variant):
    torch.manual_seed(0)
    X, y = load_diabetes(return_X_y=True)
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, random_state=42)
    sx = StandardScaler().fit(X_train)
    sy = StandardScaler().fit(y_train.reshape(-1, 1))
    y_train, y_val = sy.transform(y_train.reshape(-1, 1)), sy.transform(y_val.reshape(-1, 1))
    if variant == "bad":
        y_train, y_val = y_train.ravel(), y_val.ravel()
    net = Net()
    return {
        "model": net,
        "optimizer": torch.optim.Adam(net.parameters(), lr=0.002, weight_decay=1e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(DiabetesDataset(sx.transform(X_train), y_train), batch_size=32, shuffle=True),
        "val_loader": DataLoader(DiabetesDataset(sx.transform(X_val), y_val), batch_size=len(X_val)),
    }


WORKS = lambda score: score > 0.3

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optimizer, loss_func = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        net.train()
        epoch_losses = []
        for inputs, targets in p["train_loader"]:
            prediction = net(inputs)
            loss = loss_func(prediction, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            epoch_losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            inputs, targets = next(iter(p["val_loader"]))
            score = r2_score(targets.numpy().reshape(-1), net(inputs).numpy().reshape(-1))
        if epoch % 5 == 4:
            print("epoch: %d, train loss: %.4f, val R2: %.4f" % (epoch + 1, np.mean(epoch_losses), score))
    print(f"score: {score:.4f}")
