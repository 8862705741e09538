"""How good a choice is: training, inherited weights and efficiency."""
