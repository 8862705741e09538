"""Kernels written for the machine: C++ for processors, each with a plain definition in torch."""
