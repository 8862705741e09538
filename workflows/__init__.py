"""What nastk does from a call to its end: one function of the library a file."""
