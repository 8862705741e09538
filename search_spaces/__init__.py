"""What may be chosen: every space is one class, listed here under the name people type."""

from ..core.space import Space
from .mbconv import MBConv
from .sandglass import Sandglass
from .sandglass_micro import SandglassMicro
from .sandglass_micro_tab import SandglassMicroTab
from .toy import Toy

SPACES: dict[str, type[Space]] = {
    "mbconv": MBConv,
    "sandglass": Sandglass,
    "sandglass-micro": SandglassMicro,
    "sandglass-micro-tab": SandglassMicroTab,
    "toy": Toy,
}

__all__ = ["SPACES", "MBConv", "Sandglass", "SandglassMicro", "SandglassMicroTab", "Toy"]
