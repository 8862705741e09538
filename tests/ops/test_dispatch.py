"""Which implementation runs, and how wrong settings are refused."""

import pytest
import torch
from nastk.ops.definition import depthwise_conv2d_definition, fold_kernels_definition
from nastk.ops.kernels.cuda import dispatch
from nastk.ops.kernels.cuda.depthwise import depthwise_bwd_mixture, depthwise_conv2d
from nastk.ops.kernels.cuda.norm_act import norm_act
from nastk.ops.kernels.forced import forced


@pytest.fixture(autouse=True)
def no_override(monkeypatch):
    monkeypatch.delenv("NASTK_KERNELS", raising=False)
    dispatch.forget_tables()
    yield
    dispatch.forget_tables()


def test_a_wrong_override_is_answered_with_the_three_names(monkeypatch):
    monkeypatch.setenv("NASTK_KERNELS", "fast")
    with pytest.raises(ValueError, match="definition, triton, compiled, got 'fast'"):
        depthwise_conv2d(torch.zeros(1, 2, 3, 3), torch.zeros(2, 1, 3, 3))


def test_the_former_name_of_compiled_kernels_is_understood(monkeypatch, tmp_path):
    monkeypatch.setenv("NASTK_KERNELS", "native")
    assert forced() == "compiled"
    assert dispatch.backend("forward", torch.zeros(1, 2, 3, 3), 7) == "torch"
    former = tmp_path / "wins.toml"
    former.write_text('["9.0"]\na = "native"\nb = "triton"\n')
    assert dispatch.read_table(former) == {"9.0": {"a": "torch", "b": "triton"}}


def test_cpu_features_run_on_torch_by_default():
    assert dispatch.backend("forward", torch.zeros(1, 2, 3, 3), 7) == "torch"


def test_triton_on_a_cpu_feature_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setenv("NASTK_KERNELS", "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="TRITON_INTERPRET=1"):
        norm_act(torch.zeros(1, 2, 3, 3), torch.ones(2), torch.ones(2), "relu")


def test_missing_triton_is_answered_with_the_extra(monkeypatch):
    monkeypatch.setattr(dispatch, "find_spec", lambda name: None)
    dispatch.implementation.cache_clear()
    with pytest.raises(ImportError, match=r"nastk\[triton\]"):
        dispatch.implementation("forward", "triton")


def test_the_users_table_lies_over_the_committed_one(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = dispatch.user_table()
    path.parent.mkdir()
    x = torch.zeros(1, 8, 4, 4)
    key = dispatch.shape_key("forward", x, 7, 1)
    path.write_text(f'["9.0"]\n"{key}" = "triton"\n')
    assert dispatch.tables()["9.0"] == {key: "triton"}
    path.write_text(f'["9.0"]\n"{key}" = "cuda"\n')
    dispatch.forget_tables()
    with pytest.raises(ValueError, match="must be triton or torch, got 'cuda'"):
        dispatch.tables()


def test_the_committed_table_is_valid():
    table = dispatch.read_table(dispatch.TABLE)
    assert {name for wins in table.values() for name in wins.values()} <= {"triton", "torch"}


@pytest.mark.parametrize("name", ["definition", "compiled"])
@pytest.mark.parametrize("act", [None, "relu", "relu6", "silu"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
def test_every_backend_of_a_cpu_has_the_gradients_of_the_definition(
    monkeypatch, name, act, stride, last
):
    monkeypatch.setenv("NASTK_KERNELS", name)
    generator = torch.Generator().manual_seed(0)
    x, weight, scale, shift = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((2, 3, 5, 7), (3, 1, 5, 5), (3,), (3,))
    )
    if last:
        x = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    leaves = [x, weight, scale, shift] if act else [x, weight]
    norm = (scale, shift, act) if act else ()
    y = depthwise_conv2d(x, weight, stride, *norm)
    wanted = depthwise_conv2d_definition(x, weight, stride, *norm)
    dy = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(y, wanted)
    for mine, true in zip(
        torch.autograd.grad(y, leaves, dy), torch.autograd.grad(wanted, leaves, dy), strict=True
    ):
        torch.testing.assert_close(mine, true)


@pytest.mark.parametrize("name", ["definition", "compiled"])
@pytest.mark.parametrize("act", [None, "relu6"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("per_row", [False, True], ids=["shared", "rows"])
def test_a_mixture_gets_the_gradients_of_its_fold(monkeypatch, name, act, stride, per_row):
    monkeypatch.setenv("NASTK_KERNELS", name)
    generator = torch.Generator().manual_seed(0)
    x, scale, shift, *kernels = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((2, 3, 5, 7), (3,), (3,), *((3, 1, k, k) for k in (3, 1, 5, 5)))
    )
    probs = torch.rand((3, 4) if per_row else (4,), generator=generator, dtype=torch.float64)
    leaves = [t.requires_grad_() for t in (probs, *kernels)]
    norm = (scale, shift, act) if act else ()
    y = depthwise_conv2d_definition(x, fold_kernels_definition(kernels, probs), stride, *norm)
    dy = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        got = depthwise_bwd_mixture(x, dy, kernels, probs, stride, *norm)
    for mine, true in zip(got, torch.autograd.grad(y, leaves, dy), strict=True):
        assert mine.shape == true.shape
        assert (mine - true).abs().max() <= 1e-12 * true.abs().max()


def test_norm_act_has_the_gradients_of_its_formula():
    z = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    scale, shift = (torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda *t: norm_act(*t, "silu"), (z, scale, shift))


@pytest.mark.parametrize("act", ["identity", "silu"])
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
def test_operators_keep_the_contract_of_torch(act, last):
    layout = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(2, 4, 5, 6).contiguous(memory_format=layout).requires_grad_()
    weight, scale, shift = (
        torch.rand(shape).requires_grad_() for shape in ((4, 1, 3, 3), (4,), (4,))
    )
    norm = (scale, shift) if act == "silu" else (None, None)
    check, fine = torch.library.opcheck, {"SUCCESS"}
    depthwise = check(torch.ops.nastk.depthwise.default, (x, weight, 2, *norm, act))
    norm_act = check(torch.ops.nastk.norm_act.default, (x, scale, shift, act))
    assert {*depthwise.values(), *norm_act.values()} == fine
    kernels, probs = [torch.rand(4, 1, k, k) for k in (3, 5)], torch.rand(2)
    dy = torch.rand(2, 4, 3, 3).contiguous(memory_format=layout)
    fixed = [v if v is None else v.detach() for v in (x, *norm)]
    arguments = (fixed[0], dy, kernels, probs, 2, *fixed[1:], act)
    assert {*check(torch.ops.nastk.depthwise_bwd_mixture.default, arguments).values()} == fine


@pytest.mark.parametrize("is_dynamic", [False, True], ids=["static", "dynamic"])
def test_a_compiled_graph_takes_the_operators_whole(is_dynamic):
    def loss(x, weight, scale, shift):
        y = depthwise_conv2d(x, weight, 2, scale, shift, "relu6")
        return norm_act(y, scale, shift, "silu").square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=is_dynamic)
    for height in (5, 8):
        shapes = ((2, 4, height, 6), (4, 1, 3, 3), (4,), (4,))
        leaves = [torch.rand(shape).requires_grad_() for shape in shapes]
        wanted, got = (
            torch.autograd.grad(function(*leaves), leaves) for function in (loss, compiled)
        )
        torch.testing.assert_close(got, wanted)


def test_second_gradients_are_refused():
    x, weight = torch.randn(1, 2, 3, 3, requires_grad=True), torch.randn(2, 1, 3, 3)
    (dx,) = torch.autograd.grad(depthwise_conv2d(x, weight).sum(), x, create_graph=True)
    weight.requires_grad_()
    y = depthwise_conv2d(x, weight)
    (dx,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula was registered"):
        torch.autograd.grad(dx.sum(), weight)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.zeros(2, 1, 4, 4),), "K odd"),
        ((torch.zeros(3, 1, 3, 3),), "C = 2"),
        ((torch.zeros(2, 1, 3, 3), 3), "1 or 2, got 3"),
        ((torch.zeros(2, 1, 3, 3), 1, torch.ones(2), torch.ones(2), "gelu"), "unknown act"),
        ((torch.zeros(2, 1, 3, 3), 1, None, None, "relu"), "given together"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        depthwise_conv2d(torch.zeros(1, 2, 3, 3), *arguments)
