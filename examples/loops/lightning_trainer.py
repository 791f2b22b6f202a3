"""A Lightning module in a Trainer with the doctor's callback; `--fault` trains the head alone.

    python examples/loops/lightning_trainer.py --fault

The lines marked "doctor" are all that the doctor needs. Without them:

    trainability run examples/loops/lightning_trainer.py --fault
"""

import argparse
import logging
import warnings

import lightning
import torch
from torch import nn
from torch.nn import functional as F

from trainability.integrations import LightningMonitor  # doctor

warnings.filterwarnings("ignore", module="lightning")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
parser = argparse.ArgumentParser()
parser.add_argument("--fault", action="store_true", help="give the optimizer the head's parameters alone")
parser.add_argument("--epochs", type=int, default=3)
arguments = parser.parse_args()


class Classifier(lightning.LightningModule):
    """A small network with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        hidden = [nn.Linear(32, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
        self.net = nn.Sequential(*hidden, nn.Linear(64, 4))

    def training_step(self, batch, index):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, index):
        logits = self.net(batch[0])
        self.log("val_loss", F.cross_entropy(logits, batch[1]))
        self.log("val_acc", (logits.argmax(dim=1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD((self.net[-1] if arguments.fault else self).parameters(), lr=0.05, momentum=0.9)


lightning.seed_everything(0, verbose=False)
centres, labels = torch.randn(4, 32), torch.randint(4, (1024,))
inputs = centres[labels] + torch.randn(1024, 32)
data = torch.utils.data.TensorDataset(inputs, labels)
train, validation = torch.utils.data.random_split(data, [896, 128])
trainer = lightning.Trainer(
    max_epochs=arguments.epochs,
    accumulate_grad_batches=2,
    gradient_clip_val=5.0,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    callbacks=[
        LightningMonitor(every=10),  # doctor
    ],
)
module = Classifier()
trainer.fit(
    module,
    torch.utils.data.DataLoader(train, batch_size=32, shuffle=True),
    torch.utils.data.DataLoader(validation, batch_size=128),
)
weights = sum(p.double().sum() for p in module.parameters()).item()
print(f"val_loss {float(trainer.callback_metrics['val_loss']):.4f}, weights {weights!r}")
