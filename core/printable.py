"""Names given by others, as they can be written into one line anywhere."""


def printable(name: str) -> str:
    r"""Return a name as it is, or with escapes where it holds control characters or no UTF-8.

    Example:
        >>> printable("Käfer"), printable("a\nb"), printable("caf\udce9")
        ('Käfer', 'a\\nb', 'caf\\udce9')
    """
    return name if name.isprintable() else name.encode("unicode_escape").decode()
