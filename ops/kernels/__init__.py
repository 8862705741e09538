"""Hand-written kernels behind the operators, and the choice among them and torch's own."""
