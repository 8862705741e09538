"""Archs trained side by side, and what their order says."""
