"""Compiled kernels of the CPU: C++ behind ctypes, and the fronts that check what goes in."""
