"""Metrics of salient objects against figures by hand, and against slow definitions."""

import numpy as np
import pytest
import torch
from nastk.tasks.saliency.metrics import f_measure, max_f, precision_recall, s_measure
from nastk.tasks.saliency.saliency import PixelCrossEntropy, SaliencyMeter
from nastk.training.batch import Batch

MASK = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)


def drawn(seed, height=13, width=7):
    draw = np.random.default_rng(seed)
    return draw.random((height, width)), draw.random((height, width)) < draw.uniform(0.1, 0.9)


def slow_curves(probs, mask):
    """Pixel by pixel and threshold by threshold."""
    precisions, recalls = [], []
    for threshold in range(256):
        hits = found = 0
        for prob, salient in zip(probs.ravel(), mask.ravel(), strict=True):
            if round(255 * float(prob)) >= threshold:
                found += 1
                hits += bool(salient)
        total = int(mask.sum())
        precisions.append(hits / found if found else float(total == 0))
        recalls.append(hits / total if total else 1.0)
    return precisions, recalls


def slow_s_measure(probs, mask):
    """Equations 1 to 8 of arXiv:1708.00786 with plain loops, lambda and alpha one half."""

    def mean(values):
        return sum(values) / len(values)

    def deviation(values):
        return (sum((v - mean(values)) ** 2 for v in values) / len(values)) ** 0.5

    def even(values):
        return 2 * mean(values) / (mean(values) ** 2 + 1 + 2 * 0.5 * deviation(values))

    height, width = mask.shape
    cells = [(r, c) for r in range(height) for c in range(width)]
    inside = [(r, c) for r, c in cells if mask[r, c]]
    share = len(inside) / len(cells)
    of_objects = share * even([probs[at] for at in inside]) + (1 - share) * even(
        [1 - probs[at] for at in cells if not mask[at]]
    )
    y, x = (round(mean([at[axis] for at in inside])) + 1 for axis in (0, 1))
    of_regions = 0.0
    for region in (
        [(r, c) for r, c in cells if r < y and c < x],
        [(r, c) for r, c in cells if r < y and c >= x],
        [(r, c) for r, c in cells if r >= y and c < x],
        [(r, c) for r, c in cells if r >= y and c >= x],
    ):
        if not region:
            continue
        a, b = [probs[at] for at in region], [float(mask[at]) for at in region]
        both = mean([(p - mean(a)) * (q - mean(b)) for p, q in zip(a, b, strict=True)])
        above = 4 * mean(a) * mean(b) * both
        below = (mean(a) ** 2 + mean(b) ** 2) * (deviation(a) ** 2 + deviation(b) ** 2)
        alike = above / below if abs(above) > 1e-12 else float(below < 1e-12)
        of_regions += len(region) / len(cells) * alike
    return max(0.5 * of_objects + 0.5 * of_regions, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_curves_and_structure_equal_their_slow_definitions(seed):
    probs, mask = drawn(seed)
    for found, expected in zip(
        precision_recall(probs, mask), slow_curves(probs, mask), strict=True
    ):
        assert found == pytest.approx(expected, abs=1e-12)
    assert s_measure(probs, mask) == pytest.approx(slow_s_measure(probs, mask), abs=1e-12)


def test_a_perfect_map_scores_one_and_its_opposite_hardly_anything():
    perfect, opposite = MASK.astype(float), 1 - MASK.astype(float)
    assert max_f(*precision_recall(perfect, MASK)) == pytest.approx(1)
    assert s_measure(perfect, MASK) == pytest.approx(1)
    # Of the opposite the lowest threshold is the best: all 16 pixels, 4 of them right.
    assert max_f(*precision_recall(opposite, MASK)) == pytest.approx(1.3 * 0.25 / (0.3 * 0.25 + 1))
    assert s_measure(opposite, MASK) < 0.1


def test_figures_by_hand():
    probs = np.array([[1.0, 0.6], [0.4, 0.0]])
    mask = np.array([[True, False], [True, False]])
    precision, recall = precision_recall(probs, mask)
    at = {0: (2 / 4, 1), 102: (2 / 3, 1), 103: (1 / 2, 1 / 2), 153: (1 / 2, 1 / 2), 154: (1, 1 / 2)}
    for threshold, expected in at.items():
        assert (precision[threshold], recall[threshold]) == pytest.approx(expected)
    # 1.3 * 1 * 0.5 / (0.3 * 1 + 0.5) = 0.8125 lies above 1.3 * 2/3 / (0.3 * 2/3 + 1) = 0.7222
    assert max_f(precision, recall) == pytest.approx(0.8125)
    assert f_measure(np.array([0.0]), np.array([0.0]))[0] == 0


def test_images_without_objects_and_images_that_are_all_object():
    probs = np.full((3, 5), 0.2)
    nothing, everything = np.zeros((3, 5), bool), np.ones((3, 5), bool)
    assert s_measure(probs, nothing) == pytest.approx(0.8)
    assert s_measure(probs, everything) == pytest.approx(0.2)
    precision, recall = precision_recall(probs, nothing)
    assert recall.min() == 1 and set(precision[:52]) == {0} and set(precision[52:]) == {1}


def test_a_centre_in_the_corner_leaves_regions_without_pixels():
    mask = np.zeros((4, 4), bool)
    mask[3, 3] = True
    probs = np.random.default_rng(0).random((4, 4))
    assert s_measure(probs, mask) == pytest.approx(slow_s_measure(probs, mask), abs=1e-12)


def batch_of(masks):
    masks = torch.tensor(np.stack(masks), dtype=torch.float32)[:, None]
    return Batch(inputs=(torch.zeros(len(masks), 3, *masks.shape[2:]),), targets={"mask": masks})


def test_the_meter_averages_curves_before_it_takes_the_best_threshold():
    """So that one threshold serves all images; the mean of the best of each would be higher."""
    pairs = [drawn(seed) for seed in range(4)]
    probs, masks = (list(part) for part in zip(*pairs, strict=True))
    logits = torch.logit(torch.tensor(np.stack(probs)))[:, None]
    meter = SaliencyMeter()
    for some in (slice(0, 3), slice(3, 4)):  # whatever the batches are
        meter.update(logits[some], batch_of(masks[some]))
    found = meter.compute()
    curves = np.mean([slow_curves(p, m) for p, m in pairs], axis=0)
    best = max(1.3 * p * r / (0.3 * p + r) if p + r else 0 for p, r in curves.T)
    assert found["max_f"] == pytest.approx(best, abs=1e-9)
    assert found["mae"] == pytest.approx(np.mean([np.abs(p - m).mean() for p, m in pairs]))
    assert found["s_measure"] == pytest.approx(np.mean([slow_s_measure(p, m) for p, m in pairs]))
    losses = [-np.log(np.where(m, p, 1 - p)).mean() for p, m in pairs]
    assert found["loss_nats"] == pytest.approx(np.mean(losses), rel=1e-6)


def test_the_objective_is_the_mean_over_pixels():
    logits = torch.tensor([[[[0.0, 2.0], [-1.0, 0.5]]]])
    target = torch.tensor([[[[1.0, 0.0], [0.25, 1.0]]]])
    batch = Batch(inputs=(torch.zeros(1),), targets={"mask": target})
    found = PixelCrossEntropy()(lambda x: logits, batch, torch.tensor(0.0))
    probs = torch.sigmoid(logits)
    expected = -(target * probs.log() + (1 - target) * (1 - probs).log()).mean()
    assert torch.allclose(found, expected)


def test_a_network_that_is_lost_is_measured_and_not_finite():
    meter = SaliencyMeter()
    meter.update(torch.full((1, 1, 4, 4), torch.nan), batch_of([MASK]))
    assert np.isnan(meter.compute()["loss_nats"])
