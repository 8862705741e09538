"""The resampling inside of exported files gives the bytes that Pillow gives."""

import numpy as np
import pytest
import torch
from nastk.core.preprocessing import FILTERS, Preprocessing
from nastk.core.resolution import sides_of
from nastk.ops.resize import Resize
from PIL import Image

SIZES = [(28, 28), (56, 56), (37, 53), (53, 37), (100, 300), (9, 8), (1, 1), (1, 40), (480, 640)]


@pytest.mark.parametrize("side", [7, 28, 224, (32, 24), (7, 20)])
@pytest.mark.parametrize("crop", [None, 7 / 8, 0.5, 1.0])
@pytest.mark.parametrize("resize", FILTERS)
def test_every_byte_is_pillows(resize, crop, side):
    generator = np.random.default_rng(0)
    way = Preprocessing(
        resolution=side, crop=crop, resize=resize, mean=(0.0,) * 3, deviation=(1.0,) * 3
    )
    module = Resize(sides_of(side), crop=crop, resize=resize)
    for height, width in SIZES:
        pixels = generator.integers(0, 256, (height, width, 3), np.uint8)
        pixels[: height // 2] = np.where(pixels[: height // 2] > 128, 255, 0)  # to be clipped
        found = module(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
        assert found.dtype == torch.float32
        assert np.array_equal(found.numpy(), way.pixels(Image.fromarray(pixels))), (height, width)


def test_pictures_of_a_batch_do_not_mix():
    images = torch.randint(0, 256, (3, 3, 20, 30), dtype=torch.uint8)
    module = Resize((8, 8), crop=0.875, resize="bilinear")
    alone = torch.cat([module(image[None]) for image in images])
    assert torch.equal(module(images), alone)
