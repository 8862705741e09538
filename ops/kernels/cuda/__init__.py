"""Torch operators of nastk's own for CUDA, the Triton kernels beneath, and which of them wins.

Nothing here imports Triton before a Triton kernel is wanted.
"""
