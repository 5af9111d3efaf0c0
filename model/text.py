"""Text of others, file names above all, fit for a terminal."""


def printable(text: str) -> str:
    """The text with every character that a terminal could obey, or cannot show, as its escape: `\\x1b`, `\\udcff`.

    What a data set names its files would else move the cursor, set the title, or turn a line of errors into another.
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
