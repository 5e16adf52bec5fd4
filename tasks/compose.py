"""placeholder"""

PROJECT = "premiere"


def swap(image: str) -> None:
    """To be written."""
    raise NotImplementedError
