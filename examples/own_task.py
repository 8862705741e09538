"""How large is the spot? A task of one's own: its data, its loss and its metric."""

import hashlib

import nastk
import numpy as np
import torch
import torch.nn.functional as F

FIRST = {"weights": 0, "architecture": 600, "train": 0, "test": 800}
SIZES = {"weights": 600, "architecture": 200, "train": 800, "test": 200}


class Defects(nastk.Task):
    kind, like = "defects", "classification"  # its networks: an image in, numbers out
    metrics = (nastk.Metric(name="error_px", title="error", digits=2),)  # a search minimises it
    sizes = {"num_classes": 1}  # one number
    is_demonstration = True  # short recipes; without it those for data of a user's

    def __init__(self, resolution):
        self.side = resolution

    def size(self, split):
        return SIZES[split]

    def read(self, split, items, draw):
        surfaces = [self.surface(FIRST[split] + item) for item in items]
        images = torch.tensor(np.array([image for image, _ in surfaces]), dtype=torch.float32)
        radii = torch.tensor([radius for _, radius in surfaces], dtype=torch.float32)
        if draw is not None and draw.of_batch(1).random() < 0.5:  # to train on: maybe mirrored
            images = images.flip(3)
        return nastk.Batch(inputs=(images,), targets={"radius": radii})

    def surface(self, number):
        generator = np.random.default_rng(number)
        radius, x, y = generator.uniform((2, 8, 8), (8, self.side - 8, self.side - 8))
        rows, columns = np.mgrid[: self.side, : self.side]
        spot = np.clip(radius - np.hypot(rows - y, columns - x), 0, 1)
        return generator.normal(0, 0.5, (3, self.side, self.side)) - spot, radius

    def objective(self, amounts=None):
        return Distance()

    def meter(self, split=None):
        return Error()

    def describe(self):
        content = hashlib.sha256(b"spots, first edition").hexdigest()
        return {"name": "defects", "split_sizes": SIZES, "train_sha256": content} | self.sizes


class Distance(nastk.Objective):
    def forward(self, network, batch, step):
        return F.smooth_l1_loss(network(*batch.inputs)[:, 0].float(), batch.targets["radius"])


class Error(nastk.Meter):
    def __init__(self):
        self.errors = []

    def update(self, outputs, batch):
        self.errors += (outputs[:, 0] - batch.targets["radius"]).abs().tolist()

    def compute(self):
        return {"error_px": sum(self.errors) / len(self.errors)}
