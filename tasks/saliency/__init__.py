"""Salient objects: which pixels of an image are of what the eye goes to."""
