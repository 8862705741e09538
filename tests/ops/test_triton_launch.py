"""Every pass is launched as on a GPU, with a driver that compiles for one and starts nothing.

The interpreter takes arguments as they come; the real launcher sorts them into constants, types and
alignments first, and compiles for these.
"""

import pytest
import torch
from nastk.ops.kernels.cuda.dispatch import PASSES, implementation
from nastk.ops.kernels.cuda.tuning import trials

triton = pytest.importorskip("triton", reason="triton is not installed")


class Driver:
    """Stands for CUDA's: names a target, loads nothing and notes what would be launched."""

    def __init__(self):
        from triton.backends.compiler import GPUTarget

        self.target, self.launches, self.utils = GPUTarget("cuda", 90, 32), [], self

    def get_current_target(self):
        return self.target

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_device_properties(self, device):
        return {"max_shared_mem": 227 << 10, "multiprocessor_count": 132, "warpSize": 32}

    def load_binary(self, name, binary, shared, device):
        assert len(binary) > 1000
        return 1, 1, 0, 0, 1024

    def unload_module(self, module):
        pass

    def launcher_cls(self, source, metadata):
        def launch(*arguments):
            assert all(1 <= size < 1 << 31 for size in arguments[:3])
            self.launches.append(metadata.name)

        return launch


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        driver = Driver()
        patch.setattr(type(triton.runtime.driver), "active", driver)
        yield driver


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU launches for itself")
@pytest.mark.parametrize(("dtype", "last"), [(torch.bfloat16, True), (torch.float32, False)])
def test_every_pass_compiles_as_it_is_launched(dtype, last, driver):
    every = list(trials((2, 24, 9, 16), dtype, last, [3], [2], device="cpu"))
    assert {trial.pass_name for trial in every} == set(PASSES)
    driver.launches.clear()
    for trial in every:
        implementation(trial.pass_name, "triton")(*trial.arguments)
    kernels = {
        "depthwise_fwd_kernel",
        "depthwise_bwd_data_kernel",
        "depthwise_bwd_weight_kernel",
        "mixture_bwd_kernel",
        "split_sum_fwd_kernel",
        "norm_act_fwd_kernel",
        "norm_act_bwd_reduce_kernel",
        "norm_act_bwd_apply_kernel",
    }
    assert set(driver.launches) == kernels
