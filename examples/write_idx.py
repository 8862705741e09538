"""Write 60,000 training and 10,000 test images in MNIST's four files, to try `--data idx:FOLDER`.

Handwritten digits of scikit-learn, each turned, sheared, shifted and scaled at random; digits of
the test files are none of the training files'. Run as `python examples/write_idx.py FOLDER`.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def distorted(digit, generator):
    """Return one digit [8, 8] as 28 x 28 bytes, as if it had been written once more."""
    image = Image.fromarray((digit * 255 / 16).astype(np.uint8)).resize((20, 20), Image.BICUBIC)
    canvas = Image.new("L", (28, 28))
    canvas.paste(image, (4, 4))
    angle, shear = generator.uniform(-0.45, 0.45), generator.uniform(-0.4, 0.4)
    size, shift = generator.uniform(0.7, 1.15), generator.uniform(-4, 4, 2)
    cosine, sine = np.cos(angle) / size, np.sin(angle) / size
    matrix = np.array([[cosine, -sine + shear], [sine, cosine]])
    offset = 14 - matrix @ (14 + shift)
    values = (*matrix[0], offset[0], *matrix[1], offset[1])
    pixels = np.asarray(canvas.transform((28, 28), Image.AFFINE, values, Image.BILINEAR), float)
    noise = generator.normal(0, 25, (28, 28))
    return np.clip(pixels * generator.uniform(0.5, 1.0) + noise, 0, 255).astype(np.uint8)


def write(folder, prefix, sources, labels, count, generator):
    """Write images and labels of one part in MNIST's format: a header, then bytes."""
    drawn = generator.integers(len(sources), size=count)
    images = np.stack([distorted(sources[i], generator) for i in drawn])
    for kind, array in (("images-idx3", images), ("labels-idx1", labels[drawn].astype(np.uint8))):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        (folder / f"{prefix}-{kind}-ubyte").write_bytes(header + array.tobytes())


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    digits, generator = load_digits(), np.random.default_rng(0)
    order = generator.permutation(len(digits.target))
    for prefix, part, count in (("train", order[:1400], 60_000), ("t10k", order[1400:], 10_000)):
        write(folder, prefix, digits.images[part], digits.target[part], count, generator)
    print(f"60,000 training and 10,000 test images in {folder}")
