"""Weights in the bits that they need, and the C that reads them."""

import numpy as np

GROUP = 8
"""Weights that C unpacks at a time: their bits are whole bytes."""
WIDEST = 25
"""Bits of a weight that lies in four bytes wherever it begins in the first one."""
WORD = 32


def packed(rows: np.ndarray, width: int) -> bytes:
    """Rows (..., N) of integers in two's complement of ``width`` bits, the first one in the lowest
    bits of the first byte; each row begins at a byte."""
    bits = rows.reshape(-1, rows.shape[-1], 1) >> np.arange(width) & 1
    bits = bits.reshape(len(bits), -1).astype(np.uint8)
    return np.packbits(bits, axis=1, bitorder="little").tobytes()


def row_bytes(count: int, width: int) -> int:
    """Of one row of ``count`` weights."""
    return -(-count * width // 8)


def words(width: int) -> list[str]:
    """C expressions of the 32-bit words in which a group lies, the last one of what is left."""
    whole = width // 4
    found = [f"word(row + {4 * number})" if number else "word(row)" for number in range(whole)]
    rest = [f"row[{byte}]" for byte in range(4 * whole, width)]
    parts = rest[:1] + [f"(uint32_t){byte} << {8 * n}" for n, byte in enumerate(rest)][1:]
    return found + [" | ".join(parts)] * bool(parts)


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
