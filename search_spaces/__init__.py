"""What may be chosen: every space is one class, listed here under the name people type."""

from ..core.space import Space
from .mbconv import MBConv
from .mbconv_micro import MBConvMicro
from .nasbench201 import NasBench201
from .nasbench_macro import NasBenchMacro
from .sandglass import Sandglass
from .sandglass_micro import SandglassMicro
from .sandglass_micro_tab import SandglassMicroTab
from .t2t import T2T
from .t2t_micro import T2TMicro
from .toy import Toy

SPACES: dict[str, type[Space]] = {
    "mbconv": MBConv,
    "mbconv-micro": MBConvMicro,
    "nasbench-macro": NasBenchMacro,
    "nasbench201": NasBench201,
    "sandglass": Sandglass,
    "sandglass-micro": SandglassMicro,
    "sandglass-micro-tab": SandglassMicroTab,
    "t2t": T2T,
    "t2t-micro": T2TMicro,
    "toy": Toy,
}

__all__ = [
    "SPACES",
    "T2T",
    "MBConv",
    "MBConvMicro",
    "NasBench201",
    "NasBenchMacro",
    "Sandglass",
    "SandglassMicro",
    "SandglassMicroTab",
    "T2TMicro",
    "Toy",
]
