"""Speaker-listener game: the speaker's words are chosen by argmax and looked up in an embedding, so no gradient reaches the speaker; change: gumbel_softmax(hard=True) times the embedding matrix."""
import sys, torch
import torch.nn as nn, torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

WORDS, LENGTH, N_ATTR, N_VAL = 8, 3, 3, 6

def objects(n, seed):
    o = torch.randint(0, N_VAL, (n, N_ATTR), generator=torch.Generator().manual_seed(seed))
    return TensorDataset(F.one_hot(o, N_VAL).float().flatten(1), o)

class Speaker(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(N_ATTR * N_VAL, 10), nn.ReLU(), nn.Linear(10, LENGTH * WORDS))
    def forward(self, obj): return self.net(obj).view(-1, LENGTH, WORDS)

class Listener(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(WORDS, 16)
        self.net = nn.Sequential(nn.Linear(16 * LENGTH, 64), nn.ReLU(), nn.Linear(64, N_ATTR * N_VAL))
    def forward(self, e): return self.net(e.flatten(1)).view(-1, N_ATTR, N_VAL)

class Game(nn.Module):
    def __init__(self, gumbel):
        super().__init__(); self.speaker, self.listener, self.gumbel = Speaker(), Listener(), gumbel
    def forward(self, obj):
        logits = self.speaker(obj)
        if self.gumbel and self.training:
            message = F.gumbel_softmax(logits, tau=1.0, hard=True) @ self.listener.words.weight
        else:
            message = self.listener.words(logits.argmax(-1))
        return self.listener(message)

def game_loss(out, target): return F.cross_entropy(out.transpose(1, 2), target)

def parts(variant):
    torch.manual_seed(3)
    g = Game(variant == "fixed")
    return dict(model=g, optimizer=torch.optim.Adam(g.parameters(), lr=5e-3), loss_fn=game_loss,
                train_loader=DataLoader(objects(4000, 0), 64, shuffle=True), val_loader=DataLoader(objects(500, 1), 250))

WORKS = lambda score: score > 0.6       # attributes understood, by chance 0.17

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad"); g = p["model"]
    for epoch in range(40):
        g.train()
        for obj, tgt in p["train_loader"]:
            loss = game_loss(g(obj), tgt); p["optimizer"].zero_grad(); loss.backward(); p["optimizer"].step()
        if epoch % 8 == 7: print("epoch", epoch + 1, loss.item())
    g.eval()
    with torch.no_grad():
        print("score:", torch.cat([(g(o).argmax(-1) == t).float() for o, t in p["val_loader"]]).mean().item())
