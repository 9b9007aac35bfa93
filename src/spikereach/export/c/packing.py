"""Weights in the bits that they need, and the C that reads them."""

import numpy as np

GROUP = 8
"""Weights that C unpacks at a time: their bits are whole bytes."""
WORD = 32


def packed(rows: np.ndarray, width: int) -> bytes:
    """Rows (..., N) of integers in two's complement of ``width`` bits, the first one in the lowest
    bits of the first byte; each row begins at a byte."""
    rows = rows.reshape(-1, rows.shape[-1])
    bits = rows[..., None] >> np.arange(width) & 1
    bits = bits.reshape(len(rows), -1).astype(np.uint8)
    return np.packbits(bits, axis=1, bitorder="little").tobytes()


def row_bytes(count: int, width: int) -> int:
    """Of one row of ``count`` weights."""
    return -(-count * width // 8)


def words(width: int) -> list[str]:
    """C expressions of the 32-bit words in which a group lies, the last one of what is left."""
    found = []
    for first in range(0, width, 4):
        parts = [
            f"(uint32_t)row[{byte}]" + (f" << {8 * (byte - first)}" if byte > first else "")
            for byte in range(first, min(first + 4, width))
        ]
        found.append(" | ".join(parts))
    return found


def fields(width: int) -> list[str]:
    """C expressions with each weight of a group in its lowest bits, from ``word0``, ``word1``..."""
    found = []
    for weight in range(GROUP):
        word, bit = divmod(weight * width, WORD)
        field = f"word{word} >> {bit}" if bit else f"word{word}"
        if bit + width > WORD:
            field += f" | word{word + 1} << {WORD - bit}"
        found.append(field)
    return found
