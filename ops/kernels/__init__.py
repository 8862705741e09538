"""Kernels under the operators: C++ on the CPU, Triton on CUDA, plain torch everywhere."""
