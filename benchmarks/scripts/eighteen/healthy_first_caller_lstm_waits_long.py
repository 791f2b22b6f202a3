"""Sound: an LSTM that has to name the first caller after a long line of noise; the loss stays at chance for about two epochs and then drops; forget bias 1, frozen caller embeddings, clipping, average of the weights at the end. change: nothing."""
import sys
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

CALLERS, NOISES, WAIT, EPOCHS, AVERAGE_FROM = 6, 10, 24, 22, 18


def lines(n, seed):
    g = torch.Generator().manual_seed(seed)
    first = torch.randint(0, CALLERS, (n, 1), generator=g)
    rest = CALLERS + torch.randint(0, NOISES, (n, WAIT), generator=g)
    return TensorDataset(torch.cat([first, rest], 1), first.squeeze(1))


class FirstCaller(nn.Module):
    def __init__(self, emb=16, hidden=48):
        super().__init__()
        self.emb = nn.Embedding(CALLERS + NOISES, emb)
        self.emb.weight.requires_grad = False
        self.lstm = nn.LSTM(emb, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, CALLERS)
        for name, p in self.lstm.named_parameters():
            if "bias_hh" in name:
                nn.init.constant_(p[hidden:2 * hidden], 1.0)
            elif "weight_hh" in name:
                nn.init.orthogonal_(p)

    def forward(self, x):
        o, _ = self.lstm(self.emb(x))
        return self.fc(o[:, -1])


def parts(variant):
    torch.manual_seed(0)
    model = FirstCaller()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(lines(2000, 1), 40, shuffle=True), "val_loader": DataLoader(lines(500, 2), 500)}


@torch.no_grad()
def accuracy(model, loader):
    x, y = next(iter(loader))
    return (model(x).argmax(1) == y).float().mean().item()


WORKS = lambda score: score > 0.9  # accuracy of the averaged net; chance is 0.17

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, averaged = p["model"], AveragedModel(p["model"])
    for epoch in range(EPOCHS):
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            p["optimizer"].step()
            total += loss.item()
        if epoch >= AVERAGE_FROM:
            averaged.update_parameters(model)
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f}, accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(averaged, p['val_loader']):.4f}")
