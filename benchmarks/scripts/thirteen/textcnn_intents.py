"""TextCNN that sorts short requests into four intents; bad: the convolutions run over the raw word numbers as one float channel, no embedding; change: an nn.Embedding before the convolutions."""
import sys
import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import Dataset, DataLoader

VOCAB, LENGTH, INTENTS = 3000, 20, 4


class Requests(Dataset):
    def __init__(self, n, seed):
        topic = np.random.RandomState(7).permutation(np.arange(1, VOCAB))[:160].reshape(INTENTS, 40)
        rng = np.random.RandomState(seed)
        self.items = []
        for _ in range(n):
            label = rng.randint(INTENTS)
            length = rng.randint(8, LENGTH + 1)
            words = rng.randint(1, VOCAB, size=length)
            k = rng.rand(length) < 0.4
            words[k] = rng.choice(topic[label], size=k.sum())
            self.items.append((np.pad(words, (0, LENGTH - length)), label))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        words, label = self.items[i]
        return torch.as_tensor(words, dtype=torch.long), label


class TextCNN(nn.Module):
    def __init__(self, embedding_dim=None, filters=48, sizes=(2, 3, 4)):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, embedding_dim, padding_idx=0) if embedding_dim else None
        self.convs = nn.ModuleList([nn.Conv1d(embedding_dim or 1, filters, k) for k in sizes])
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(filters * len(sizes), INTENTS)

    def forward(self, ids):
        if self.embedding is None:
            h = ids.float().unsqueeze(1)
        else:
            h = self.embedding(ids).transpose(1, 2)
        h = torch.cat([torch.relu(c(h)).amax(2) for c in self.convs], 1)
        return self.fc(self.drop(h))


def parts(variant):
    torch.manual_seed(0)
    net = TextCNN(None if variant == "bad" else 32)
    return dict(model=net, loss_fn=nn.CrossEntropyLoss(), optimizer=optim.Adam(net.parameters(), lr=2e-3),
                train_loader=DataLoader(Requests(2500, 1), batch_size=50, shuffle=True),
                val_loader=DataLoader(Requests(500, 2), batch_size=100))


WORKS = lambda score: score > 0.8


def evaluate(net, loader):
    net.eval()
    right = total = 0
    with torch.no_grad():
        for ids, label in loader:
            right += (net(ids).argmax(1) == label).sum().item()
            total += len(label)
    return right / total


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(10):
        p["model"].train()
        losses = []
        for ids, label in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](ids), label)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        score = evaluate(p["model"], p["val_loader"])
        print(f"[{epoch + 1}] loss={np.mean(losses):.4f} val_acc={score:.3f}")
    print(f"score: {score:.4f}")
