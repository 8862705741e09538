"""The page about runs: its facts, its pictures and its words."""
