"""Parts of recipes: what they do to images and labels, and that the seed decides."""

import dataclasses

import numpy as np
import pytest
import torch
from nastk.evaluators.train import Training
from nastk.ops.residual import Residual
from nastk.search_spaces import SandglassMicro, T2TMicro
from nastk.tasks.images.augment import OPERATIONS, rand_augment
from nastk.tasks.images.mixing import erase, mix
from nastk.tasks.named import make_task
from nastk.training import learning
from nastk.training.recipes import DEMONSTRATION, RECIPES, T2T_VIT
from PIL import Image


def generator(seed=0):
    return np.random.default_rng(seed)


def batch(size=6):
    labels = torch.arange(size) % 4
    return labels.float().reshape(-1, 1, 1, 1).expand(size, 3, 8, 12).clone(), labels


def test_mixup_blends_images_and_labels_by_one_share():
    x, labels = batch()
    mixed, targets = mix(x, labels, 4, mixup=0.8, cutmix=0, generator=generator())
    share = generator().beta(0.8, 0.8)
    assert torch.allclose(mixed[1], share * x[1] + (1 - share) * x[4])
    assert float(targets[1, 1]) == pytest.approx(share)
    assert float(targets[1, 0]) == pytest.approx(1 - share)
    assert torch.allclose(targets.sum(1), torch.ones(6))


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_pastes_a_rectangle_whose_area_is_the_share_of_the_label(seed):
    x, labels = batch()
    mixed, targets = mix(x, labels, 4, mixup=0, cutmix=1.0, generator=generator(seed))
    pasted = mixed[1, 0] != x[1, 0]  # labels 1 and 0 are the pixels
    rows, columns = pasted.any(1), pasted.any(0)
    assert int(pasted.sum()) == int(rows.sum()) * int(columns.sum())
    assert float(targets[1, 0]) == pytest.approx(float(pasted.float().mean()))
    assert torch.equal(x, batch()[0])  # the images given stay as they are


def test_both_share_the_batches():
    x, labels = batch()
    blended = 0
    for seed in range(200):
        mixed, _ = mix(x, labels, 4, mixup=0.8, cutmix=1.0, generator=generator(seed))
        blended += int(len(mixed[1].unique()) == 1 and mixed[1, 0, 0, 0] not in (0, 1))
    assert 70 < blended < 130


def test_erasing_fills_one_rectangle_in_a_share_of_the_images():
    x = torch.full((400, 3, 16, 20), 7.0)
    changed = erase(x, 0.25, generator()) != 7
    hit = changed.flatten(1).any(1)
    assert 70 < int(hit.sum()) < 130 and float(x.min()) == 7
    for image in changed[hit][:20, 0]:
        assert int(image.sum()) == int(image.any(1).sum()) * int(image.any(0).sum())
        assert 0.01 < float(image.float().mean()) < 0.4


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_keeps_size_and_mode(name):
    image = Image.fromarray(generator().integers(0, 256, (20, 24, 3), dtype=np.uint8))
    for strength in (0.0, 0.9, 1.0):
        changed = OPERATIONS[name](image, strength, -1)
        assert changed.size == image.size and changed.mode == "RGB"
    assert np.any(np.asarray(changed) != np.asarray(image))


def test_the_generator_alone_decides_what_rand_augment_does():
    image = Image.fromarray(generator().integers(0, 256, (16, 16, 3), dtype=np.uint8))
    results = [np.asarray(rand_augment(image, 9, generator(seed))) for seed in (1, 1, 2, 3, 4)]
    assert np.array_equal(results[0], results[1])
    assert len({result.tobytes() for result in results}) > 2


def test_batches_with_rand_augment_are_functions_of_seed_and_step():
    task = make_task("digits", 16)
    arguments = {"seed": 1, "step": 3, "batch_size": 8}
    plain, _ = task.batch("train", **arguments)
    first, _ = task.batch("train", **arguments, rand_augment=9)
    again, _ = task.batch("train", **arguments, rand_augment=9)
    assert torch.equal(first, again) and not torch.equal(first, plain)


@pytest.mark.parametrize("space", [SandglassMicro(), T2TMicro()], ids=["convolutions", "tokens"])
def test_a_recipe_with_every_part_trains_any_space_and_leaves_it_plain(space):
    recipe = dataclasses.replace(T2T_VIT, batch_size=16, ema_decay=0.0)
    task = make_task("digits", space.resolution)
    networks = []
    for _ in range(2):
        network = space.build(space.arch_at(dict.fromkeys(space.choices(), 0)))
        Training(network=network, task=task, recipe=recipe, steps=2).fit()
        networks.append(network)
    rates = [m.drop_rate for m in networks[0].modules() if isinstance(m, Residual)]
    assert rates and not any(rates)
    for a, b in zip(*(n.state_dict().values() for n in networks), strict=True):
        assert torch.equal(a, b)


def test_the_rate_ends_at_the_final_one(monkeypatch):
    space, seen = T2TMicro(), []
    original = learning.set_learning_rate
    monkeypatch.setattr(
        learning,
        "set_learning_rate",
        lambda optimizer, rate: seen.append(rate) or original(optimizer, rate),
    )
    recipe = dataclasses.replace(DEMONSTRATION, lr=1e-3, final_lr=4e-4, batch_size=8)
    network = space.build(space.arch_at(dict.fromkeys(space.choices(), 0)))
    Training(network=network, task=make_task("digits", 32), recipe=recipe, steps=20).fit()
    assert max(seen) <= 1e-3 and 4e-4 < seen[-1] < 4.2e-4


def test_the_published_recipe_is_complete():
    recipe = RECIPES["t2t-vit"]
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.final_lr) == (310, 512, 5e-4, 1e-5)
    assert (recipe.mixup, recipe.cutmix, recipe.rand_augment, recipe.erasing) == (0.8, 1.0, 9, 0.25)
    assert (recipe.drop_path, recipe.label_smoothing, recipe.ema_decay) == (0.1, 0.1, 0.99996)
    assert RECIPES["t2t-vit-lite"].weight_decay == 0.03
