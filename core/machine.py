"""What figures that were measured depend on."""

import platform
from pathlib import Path


def cpu_name() -> str:
    """Return the processor of this machine, as its system names it."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    entries = {
        key.strip(): value.strip()
        for key, colon, value in (
            line.partition(":") for line in info.read_text().split("\n\n")[0].splitlines()
        )
        if colon
    }
    name = entries.get("model name", platform.machine())
    if "cpu family" in entries:
        name += f" (family {entries['cpu family']} model {entries.get('model', '?')})"
    return name


def peak_memory_bytes() -> int:
    """Return the largest resident size of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
