"""What networks are trained on: a folder for each kind of task."""
