"""Classify raw test images by an exported file, in a Python that needs no nastk.

Run as `python examples/classify_idx.py FILE.onnx FOLDER`; the file is made by `nastk export
--with-preprocessing`, the folder holds MNIST's four files.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

file, folder = sys.argv[1], Path(sys.argv[2])
session = onnxruntime.InferenceSession(file)
classes = json.loads(session.get_modelmeta().custom_metadata_map["nastk.classes"])
images = np.fromfile(folder / "t10k-images-idx3-ubyte", np.uint8, offset=16)
images = images.reshape(-1, 1, 28, 28)
labels = np.fromfile(folder / "t10k-labels-idx1-ubyte", np.uint8, offset=8)
correct = 0
for start in range(0, len(images), 100):
    image = np.repeat(images[start : start + 100], 3, axis=1)  # grey three times: [B, 3, H, W]
    (probabilities,) = session.run(["probabilities"], {"image": image})
    found = [int(classes[n]) for n in probabilities.argmax(1)]
    correct += int((found == labels[start : start + 100]).sum())
print(f"{100 * correct / len(images):.2f} % of {len(images):,} raw test images")
