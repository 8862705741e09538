"""Reference points and reports; filled by later work."""
