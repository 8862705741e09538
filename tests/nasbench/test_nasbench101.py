"""NAS-Bench-101: cells, their names and params in the table, and a small file in its format."""

import base64
import itertools
import json
import struct

import pytest
import torch
from nastk.nasbench.nasbench101 import OPERATIONS, Cell, Module, build_nasbench101
from nastk.nasbench.nasbench101_table import open_nasbench101

C3, C1, POOL = OPERATIONS


def cell(rows, *operations):
    """A cell from rows like "0110"."""
    return Cell.prune([[int(e) for e in row] for row in rows], ("input", *operations, "output"))


# The first row of the released file and its params, quoted in the documentation of NNI (8.55553
# million) and of many readers of that file.
FIRST = cell(
    ("0100110", "0010000", "0001001", "0000010", "0000010", "0000001", "0000000"),
    *(C3, POOL, C3, C3, C1),
)
# The Inception-like cell of the notebook NASBench.ipynb of google-research/nasbench: as asked
# for, and as the table answers, with 2,694,282 trainable parameters.
ASKED = cell(
    ("0111010", "0000001", "0000001", "0000100", "0000001", "0000001", "0000000"),
    *(C1, C3, C3, C3, POOL),
)
ANSWERED = cell(
    ("0111100", "0000001", "0000001", "0000001", "0000010", "0000001", "0000000"),
    *(C3, C1, POOL, C3, C3),
)


def test_the_hash_is_the_name_in_the_table():
    assert FIRST.hash == "00005c142e6f48ac74fdcf73e3439874"
    assert ASKED.hash == ANSWERED.hash != FIRST.hash


@pytest.mark.parametrize("made, params", [(FIRST, 8_555_530), (ASKED, 2_694_282)])
def test_params_are_those_of_the_table(made, params):
    with torch.device("meta"):
        network = build_nasbench101(made)
    assert sum(p.numel() for p in network.parameters()) == params


def cells_of(size):
    """All cells of so many vertices, by brute force."""
    places = list(itertools.combinations(range(size), 2))
    for edges in itertools.product((0, 1), repeat=len(places)):
        matrix = [[0] * size for _ in range(size)]
        for (i, j), edge in zip(places, edges, strict=True):
            matrix[i][j] = edge
        for inner in itertools.product(OPERATIONS, repeat=size - 2):
            try:
                yield Cell(matrix=tuple(map(tuple, matrix)), operations=("input", *inner, "output"))
            except ValueError:
                continue


def canonical(made):
    """The smallest of all orders of the inner vertices."""
    size = len(made.matrix)
    forms = []
    for inner in itertools.permutations(range(1, size - 1)):
        order = (0, *inner, size - 1)
        matrix = tuple(tuple(made.matrix[i][j] for j in order) for i in order)
        forms.append((matrix, tuple(made.operations[i] for i in order)))
    return min(forms)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_hashes_are_equal_where_cells_are_isomorphic_and_nowhere_else(size):
    made = list(cells_of(size))
    pairs = {(one.hash, canonical(one)) for one in made}
    assert len(pairs) == len({first for first, _ in pairs}) == len({last for _, last in pairs})
    assert len(made) > len(pairs) or size < 4


def test_vertices_that_do_nothing_are_pruned():
    pruned = cell(("01100", "00001", "00000", "00001", "00000"), C3, C1, POOL)
    assert pruned == cell(("010", "001", "000"), C3)


@pytest.mark.parametrize(
    "rows, sizes, expected",
    [
        (("01", "00"), (5, 8), [5, 8]),
        (("010", "001", "000"), (5, 8), [5, 8, 8]),
        (("0110", "0001", "0001", "0000"), (16, 15), [16, 8, 7, 15]),
        (("01110", "00001", "00001", "00001", "00000"), (8, 8), [8, 3, 3, 2, 8]),
        (("01000", "00110", "00001", "00001", "00000"), (8, 9), [8, 5, 5, 4, 9]),
        (("01010", "00101", "00010", "00001", "00000"), (8, 15), [8, 8, 7, 7, 15]),
    ],
)
def test_vertices_share_the_channels_of_the_output(rows, sizes, expected):
    made = cell(rows, *([C3] * (len(rows) - 2)))
    assert made.channels(*sizes) == expected


def test_a_cell_adds_before_its_vertices_and_concatenates_before_its_output():
    rows = ("01011", "00110", "00001", "00001", "00000")
    module = Module(cell(rows, C3, POOL, C1), 2, 9).double().eval()
    x = torch.randn(2, 2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    project, run = module.projections, module.operations
    assert set(project) == {"1", "3", "4"}
    first = run["1"](project["1"](x))
    assert first.shape[1] == 5
    second = torch.nn.functional.max_pool2d(first, 3, 1, 1)
    third = run["3"](first[:, :4] + project["3"](x))
    expected = torch.cat([second, third], 1) + project["4"](x)
    assert torch.allclose(module(x), expected, rtol=1e-12)


def test_a_cell_of_one_edge_is_a_projection():
    module = Module(cell(("01", "00")), 2, 4).eval()
    x = torch.randn(1, 2, 3, 3)
    assert torch.equal(module(x), module.projections["1"](x))
    assert build_nasbench101(cell(("01", "00")))(torch.zeros(2, 3, 9, 9)).shape == (2, 10)


@pytest.mark.parametrize(
    "matrix, operations, words",
    [
        ([[0, 1]], ("input", "output"), "square"),
        ([[0, 1], [1, 0]], ("input", "output"), "above the diagonal"),
        ([[0, 2], [0, 0]], ("input", "output"), "zeros and ones"),
        ([[0, 0], [0, 0]], ("input", "output"), "no path"),
        ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], ("input", "conv5x5", "output"), "conv5x5"),
        ([[0, 1], [0, 0]], ("output", "input"), "from input to output"),
        (
            [[int(j == i + 1) for j in range(8)] for i in range(8)],
            ("input", *[C3] * 6, "output"),
            "7",
        ),
        (
            [[int(j > i) for j in range(5)] for i in range(5)],
            ("input", C3, C3, C3, "output"),
            "9 edges, got 5 and 10",
        ),
    ],
)
def test_what_is_no_cell_is_refused(matrix, operations, words):
    with pytest.raises(ValueError, match=words):
        Cell.prune(matrix, operations)


def test_a_cell_that_was_not_pruned_is_refused():
    with pytest.raises(ValueError, match=r"Cell\.prune"):
        Cell(matrix=((0, 0, 1), (0, 0, 0), (0, 0, 0)), operations=("input", C3, "output"))


def field(number, value):
    """A field of a protocol buffer: a double, a number or a message."""
    if isinstance(value, float):
        return bytes([number << 3 | 1]) + struct.pack("<d", value)
    if isinstance(value, bytes):
        return bytes([number << 3 | 2]) + varint(len(value)) + value
    return bytes([number << 3]) + varint(value)


def varint(value):
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def crc32c(data):
    """Bit by bit, from the polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(made, epochs, seconds, validation, params):
    """One row of the table: hash, epochs, matrix, operations, metrics."""
    ends = (0.0, seconds / 2, seconds)
    messages = [
        field(1, float(epochs) * share)
        + field(2, end)
        + field(3, 0.9)
        + field(4, validation * share)
        + field(5, (validation - 0.01) * share)
        + field(6, b"/path/to/checkpoint")
        for end, share in zip(ends, (0.1, 0.5, 1.0), strict=True)
    ]
    metrics = b"".join(field(1, m) for m in messages) + field(2, params) + field(3, 9.5)
    matrix = "".join(str(e) for row in made.matrix for e in row)
    row = [made.hash, epochs, matrix, ",".join(made.operations), base64.b64encode(metrics).decode()]
    return framed(json.dumps(row).encode())


def framed(data):
    """A record of a TFRecord file."""
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "nasbench_full.tfrecord"
    rows = [record(FIRST, 108, 100.0 + i, 0.9 + i / 100, 8_555_530) for i in range(3)]
    rows += [record(FIRST, 4, 7.0, 0.5, 8_555_530), record(ASKED, 108, 5.0, 0.7, 2_694_282)]
    path.write_bytes(b"".join(rows))
    return path


def test_checksums_are_those_of_tfrecord_files():
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    # How every event file of TensorBoard begins: a record of 24 bytes.
    assert masked(struct.pack("<Q", 24)) == b"\xa3\x7fK\x22"


def test_figures_are_means_over_trainings(file):
    table = open_nasbench101(file)
    assert len(table) == 2
    assert table.loss(FIRST) == pytest.approx(1 - 0.91, rel=1e-12)
    assert table.top1_percent(FIRST) == pytest.approx(91, rel=1e-12)
    assert table.test_top1_percent(FIRST) == pytest.approx(90, rel=1e-12)
    assert table.seconds(FIRST) == pytest.approx(101, rel=1e-12)
    assert table.params(ANSWERED) == 2_694_282
    assert open_nasbench101(file, epochs=4).loss(FIRST) == pytest.approx(0.5, rel=1e-12)


def test_what_the_table_lacks_is_said(file, tmp_path):
    with pytest.raises(ValueError, match="no 4-epoch trainings of cell"):
        open_nasbench101(file, epochs=4).loss(ASKED)
    with pytest.raises(ValueError, match=r"nasbench_full\.tfrecord has all"):
        open_nasbench101(file, epochs=36)
    with pytest.raises(ValueError, match="not for 100"):
        open_nasbench101(file, epochs=100)
    with pytest.raises(ValueError, match=r"no file .*none\.tfrecord"):
        open_nasbench101(tmp_path / "none.tfrecord")


def change(content, position, value):
    return content[:position] + value + content[position + len(value) :]


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda c: b"no records at all", "no TFRecord file"),
        (lambda c: change(c, 0, b"\xff"), "no TFRecord file"),
        (lambda c: c[:-3], "record 4 .* is damaged"),
        (lambda c: c + c[:5], "record 5 is damaged"),
        (lambda c: change(c, 12, b"{"), "record 0 .* is damaged"),
        (lambda c: change(c, c.rindex(b', "') + 3, b"AAAA"), "record 4 .* is damaged"),
        (lambda c: c + framed(b"[1, 2]"), "record 5 .* none of NAS-Bench-101"),
        (lambda c: c + framed(b'["a", 108, "", "", "*"]'), "record 5 .* none of"),
        (lambda c: c + framed(b'["a", 108, "", "", "CgA="]'), "record 5 .* none of"),
        (lambda c: c + framed(b'["a", 108, "", "", "CgMRAA=="]'), "record 5 .* cut off"),
        (lambda c: c + framed(b'["a", 108, "", "", "Cw=="]'), "record 5 .* wire type 3"),
    ],
)
def test_damaged_files_are_named(file, damage, words):
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=words) as caught:
        open_nasbench101(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)
