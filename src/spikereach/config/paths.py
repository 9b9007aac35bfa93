"""Dotted paths into an entry of the configuration: keys of mappings, numbers in lists from 0."""

from collections.abc import Collection, Mapping
from typing import Any

from spikereach.config.nearest import nearest


def put(entry: Any, path: str, value: Any, further: Mapping[str, Collection[str]]) -> bool:
    """Set what a path leads to; one through null, such as a pretraining, is passed over.

    Args:
        entry: of dictionaries, lists and scalars; changed in place.
        path: such as ``compression.1.weight_bits``.
        value: to set.
        further: path of a dictionary -> keys that may be set in it, beside those that it has.
    Returns:
        whether it was set, and not passed over.
    Raises:
        ValueError: there is no such place; the message lacks its subject.
    """
    keys = path.split(".")
    for depth, key in enumerate(keys, start=1):
        above, last = ".".join(keys[: depth - 1]), depth == len(keys)
        known: dict[str, Any] = {}
        remedy = None
        if isinstance(entry, dict):
            known = {each: each for each in [*entry, *(further.get(above, ()) if last else ())]}
        elif isinstance(entry, list):
            known = {str(number): number for number in range(len(entry))}
            remedy = f"{above} is a list of {len(entry)}, numbered from 0"
        else:
            remedy = f"{above} is {entry!r}, with nothing in it"
        if key not in known:
            raise ValueError(f"has no key {path}; {remedy or nearest(key, known)}")
        if last:
            entry[known[key]] = value
        elif (entry := entry[known[key]]) is None:
            return False
    return True
