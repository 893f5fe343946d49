"""What a training run takes of the machine: share of its peak, memory, energy."""

from __future__ import annotations

import resource
from importlib.util import find_spec

import torch

# Dense bf16 (T4 and V100: fp16) TFLOPS of NVIDIA's data sheets, by a part of the name in CUDA; the first counts.
PEAK_TFLOPS = {
    "B200": 2250,
    "GH200": 989,
    "H200": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "A100": 312,
    "A800": 312,
    "L40S": 362,
    "L40": 181,
    "L4": 121,
    "A40": 150,
    "A30": 165,
    "A10": 125,
    "A6000": 155,
    "RTX 4090": 165,
    "RTX 3090": 71,
    "V100": 125,
    "T4": 65,
}


def peak_flops(device: torch.device) -> float | None:
    """The most operations a second of a device in bf16; None for a CPU, or a GPU that the table does not have."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((1e12 * peak for part, peak in PEAK_TFLOPS.items() if part in name), None)


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process held so far: on the GPU, or resident ones where it computes on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def power(device: torch.device) -> float | None:
    """The watts that a GPU draws now; None for a CPU, or where the package nvidia-ml-py is not installed."""
    if device.type != "cuda" or find_spec("pynvml") is None:
        return None
    return torch.cuda.power_draw(device) / 1000
