"""Mappings laid over one another: a file over ``config.yaml``, a system's changes over a system.

One rule for both, Snakemake's own: mappings key by key, everything else whole. A list replaces a
list, and null is a value like any other.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError


def overlay(base: dict, extra: dict) -> dict:
    """Lay ``extra`` over ``base``, mapping by mapping, as Snakemake's --configfile does."""
    result = dict(base)
    for key, value in extra.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = overlay(result[key], value) if both else value
    return result


def overrides(base: dict, config: dict) -> dict:
    """The least that has to be laid over ``base`` to have ``config``, which has all its keys."""
    result = {}
    for key, value in config.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            if inner := overrides(base[key], value):
                result[key] = inner
        elif key not in base or value != base[key]:
            result[key] = value
    return result


def written_out(systems: Any) -> Any:
    """`systems` without `like`: such an entry is laid over the one that it names.

    That one may be like another itself. Its `published` stays behind: published figures are of the
    system that was published, not of a changed one. What is no mapping is left as it is, to be
    refused where systems are read.

    Raises:
        ValidationError: a name that `systems` lacks, or a system that is like itself in the end.
    """
    if not isinstance(systems, dict):
        return systems
    whole, problems = {}, []
    for name in systems:
        chain = [name]
        while chain[-1] not in whole and (target := _like(systems, chain[-1])) is not None:
            if target in chain or not (isinstance(target, str) and target in systems):
                problems.append(_problem(chain, target))
                break
            chain.append(target)
        other = {}
        for each in reversed(chain):
            if each not in whole:
                whole[each] = _changed(other, systems[each])
            other = whole[each]
    if problems:
        raise ValidationError.from_exception_data("systems", problems)
    return {name: whole[name] for name in systems}


def told_once(problems: Sequence[Mapping[str, Any]], systems: Any) -> Iterator[Mapping[str, Any]]:
    """Errors of pydantic (`ErrorDetails`) in a configuration with these `systems`, but for those
    that a system has from the one that it is like: they are told there."""

    def known_as(problem: Mapping[str, Any], name: Any) -> tuple[Any, ...]:
        value = problem["input"]  # a mapping may be another one by its other keys
        return name, problem["loc"][2:], problem["msg"], isinstance(value, dict) or repr(value)

    def system(problem: Mapping[str, Any]) -> Any:
        at = problem["loc"]
        return at[1] if len(at) > 1 and at[0] == "systems" else None

    of_systems = {known_as(problem, system(problem)) for problem in problems}
    for problem in problems:
        name = system(problem)
        above = _like(systems, name) if name is not None and problem["type"] != "like" else None
        if above is None or known_as(problem, above) not in of_systems:
            yield problem


def _like(systems: dict, name: Any) -> Any:
    """What an entry of `systems` says it is like; None where it is written out."""
    entry = systems.get(name)
    return entry.get("like") if isinstance(entry, dict) else None


def _changed(other: Any, entry: Any) -> Any:
    """An entry laid over the one that it is like, written out; an empty one where it is whole."""
    if not isinstance(other, dict):
        return other
    if not isinstance(entry, dict):
        return entry
    kept = {key: value for key, value in other.items() if key != "published"}
    return overlay(kept, {key: value for key, value in entry.items() if key != "like"})


def _problem(chain: list[Any], target: Any) -> InitErrorDetails:
    message = "no such system"
    if target in chain:
        way = " -> ".join(map(str, [*chain[chain.index(target) :], target]))
        message = f"a system cannot be like itself: {way}"
    problem = PydanticCustomError("like", message)
    return InitErrorDetails(type=problem, loc=(chain[-1], "like"), input=target)
