"""The name of a device, as its maker gave it."""

import platform
from pathlib import Path

import torch


def device_name(device: torch.device) -> str:
    """Of the GPU, or of the CPU where Linux tells it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
