"""What is written down of runs, how it is read again, and what names in it mean."""
