"""Claims of insured cars from a table with make (70 names) and district (50 names) beside three numbers; every text column goes through OrdinalEncoder and then with the numbers through StandardScaler into one MLP, so the place in the alphabet counts as an amount; change: OneHotEncoder for the text columns."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from torch.utils.data import DataLoader, TensorDataset

MAKES, DISTRICTS = [f"make_{i:02d}" for i in range(70)], [f"district_{i:02d}" for i in range(50)]


def policies(n, seed):
    fixed, rng = np.random.default_rng(3), np.random.default_rng(seed)
    risk, place = fixed.normal(size=70), fixed.normal(size=50)
    make, district = rng.integers(70, size=n), rng.integers(50, size=n)
    age, power, km = rng.uniform(18, 80, n), rng.gamma(9, 10, n), rng.gamma(4, 3000, n)
    y = 1.2 * risk[make] + 0.9 * place[district] + 0.4 * np.tanh((power - 90) / 30) + 0.3 * ((age - 49) / 18) ** 2 + 0.2 * rng.normal(size=n)
    table = np.empty((n, 5), dtype=object)
    for column, values in enumerate((age, power, km, np.array(MAKES)[make], np.array(DISTRICTS)[district])):
        table[:, column] = values
    return table, ((y - 0.3) / 1.5).astype("float32")


def preprocessing(names):
    numbers = (StandardScaler(), [0, 1, 2])
    texts = make_pipeline(OrdinalEncoder(), StandardScaler()) if names == "ordinal" else OneHotEncoder(sparse_output=False)
    return ColumnTransformer([("numbers", *numbers), ("texts", texts, [3, 4])])


def loaders(names, batch_size=64):
    (xt, yt), (xv, yv) = policies(5000, 1), policies(1000, 2)
    columns = preprocessing(names)
    xt, xv = columns.fit_transform(xt), columns.transform(xv)
    dataset = lambda x, y: TensorDataset(torch.tensor(x.astype("float32")), torch.tensor(y).unsqueeze(1))
    return DataLoader(dataset(xt, yt), batch_size=batch_size, shuffle=True), DataLoader(dataset(xv, yv), batch_size=500)


def parts(variant):
    torch.manual_seed(0)
    train, val = loaders("ordinal" if variant == "bad" else "one hot")
    width = train.dataset.tensors[0].shape[1]
    model = nn.Sequential(nn.Linear(width, 96), nn.ReLU(), nn.Dropout(0.1), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 1))
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2),
        "loss_fn": nn.MSELoss(),
        "train_loader": train,
        "val_loader": val,
    }


@torch.no_grad()
def r2(model, loader):
    model.eval()
    out, y = map(torch.cat, zip(*[(model(x), y) for x, y in loader]))
    return (1 - (out - y).pow(2).mean() / y.var()).item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, mse = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = mse(model(x), y)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, R2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
