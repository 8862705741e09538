"""What may be chosen: every space is one class, listed here under the name people type."""

from ..core.space import Space
from .mbconv import MBConv
from .nasbench201 import NasBench201
from .sandglass import Sandglass
from .sandglass_micro import SandglassMicro
from .toy import Toy

SPACES: dict[str, type[Space]] = {
    "mbconv": MBConv,
    "nasbench201": NasBench201,
    "sandglass": Sandglass,
    "sandglass-micro": SandglassMicro,
    "toy": Toy,
}

__all__ = ["SPACES", "MBConv", "NasBench201", "Sandglass", "SandglassMicro", "Toy"]
