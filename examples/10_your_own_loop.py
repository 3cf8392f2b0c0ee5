"""Train the network inside your own Lightning code, with MONAI's loss, and use it as a model of this library afterwards.

python examples/10_your_own_loop.py

The network is a torch module that returns (mask logits, class logits). Prediction follows its weights, whoever changed them.
"""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
import torch
from monai.losses import DiceCELoss
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import bcdseg

data = bcdseg.open_dataset(Path(__file__).parents[1] / "data" / "sample")
model = bcdseg.create("plain_cnn", classes=data.classes, size=64, decoder_channels=(64, 48, 32, 24, 16))


class Mine(pl.LightningModule):
    """The losses of both heads; change anything else as you like."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.mask_loss = model.network, DiceCELoss(sigmoid=True)

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        """Return the loss of one batch."""
        output, known = self.network(batch["image"]), batch["has_mask"]
        mask_loss = self.mask_loss(output.mask[known], batch["mask"][known])
        return mask_loss + 0.5 * cross_entropy(output.classes, batch["label"], ignore_index=-1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return any optimiser of torch."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


loader = DataLoader(data.to_torch(model.preprocessing, classes=model.classes), batch_size=6, shuffle=True)
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
model.network.train()  # a new model is in evaluation mode
pl.Trainer(max_epochs=2, accelerator="cpu", **quiet).fit(Mine(), loader)

model.network.eval()
print(model.predict(data[0].image))
print("saved:", model.save("example-output/my-own", overwrite=True))
