"""From an exported folder to a linked image, and what lies in its memories."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from math import prod
from pathlib import Path

import numpy as np

from spikereach import programs
from spikereach.export.firmware import target
from spikereach.export.firmware.errors import FirmwareError
from spikereach.export.firmware.machines import Machine
from spikereach.export.firmware.record import Item

LIMIT_S = 300.0
"""For a compiler."""
FLAGS = ("-std=c99", "-O2", "-ffreestanding", "-ffunction-sections", "-fdata-sections")
HARNESS_FLAGS = ("-fno-tree-loop-distribute-patterns",)
"""The harness calls no library: all that is linked of one is there for the decoder."""
CODE = (".decoder_code", ".decoder_library")
WEIGHTS = (".decoder_constants",)
STATE = (".decoder_state",)
"""Sections of ``target/sections.ld``."""
_STATE = re.compile(r"typedef struct \{(.*?)\} decoder_state;", re.DOTALL)
_MEMBER = re.compile(r"\bu?int(8|16|32)_t (\w+)((?:\[\d+\])*);")


@dataclass(frozen=True)
class Image:
    """A linked program for a machine, in a folder of its own."""

    machine: Machine
    folder: Path
    bins: int
    program: Path
    """The exported folder."""

    @property
    def path(self) -> Path:
        return self.folder / "firmware.elf"

    def sizes(self) -> dict[str, int]:
        """Section -> bytes, by the linker."""
        lines = tool(self.machine, "size", "-A", "-d", str(self.path)).splitlines()
        fields = [line.split() for line in lines]
        return {each[0]: int(each[1]) for each in fields if len(each) == 3 and each[0][0] == "."}

    def items(self) -> list[Item]:
        """What the decoder has in flash and RAM: its symbols, of the state its members, and what
        alignment adds."""
        sizes, found = self.sizes(), self._members()
        listed = tool(self.machine, "nm", "--print-size", "--format=sysv", str(self.path))
        for line in listed.splitlines():
            fields = [field.strip() for field in line.split("|")]
            if len(fields) == 7 and fields[6] in (*CODE, *WEIGHTS) and fields[4]:
                name, _, _, _, size, _, section = fields
                found.append(Item(section=section, name=name, bytes=int(size, 16)))
        for section in (*CODE, *WEIGHTS, *STATE):
            named = sum(item.bytes for item in found if item.section == section)
            if rest := sizes.get(section, 0) - named:
                found.append(Item(section=section, name="(alignment)", bytes=rest))
        return sorted(found, key=lambda item: (item.section, -item.bytes, item.name))

    def _members(self) -> list[Item]:
        """Of ``decoder_state``, as decoder.h declares it."""
        header = (self.program / "decoder.h").read_text("utf-8")
        declared = _STATE.search(header)
        return [
            Item(
                section=STATE[0],
                name=name,
                bytes=int(width) // 8 * prod(map(int, re.findall(r"\d+", sizes))),
            )
            for width, name, sizes in _MEMBER.findall(declared[1] if declared else "")
        ]

    def total(self, sections: Sequence[str]) -> int:
        sizes = self.sizes()
        return sum(sizes.get(section, 0) for section in sections)


def build(program: Path, spikes: np.ndarray, machine: Machine, folder: Path) -> Image:
    """Compile and link an exported decoder with the harness and the bins that it will decode.

    Args:
        program: the exported folder, of which ``main.c`` is left out: it is for computers.
        spikes: (T, C) of 0 and 1, into the flash.
        machine: for which.
        folder: for the files of the build, which may hold those of an earlier one.
    Raises:
        FirmwareError: a compiler refuses something; its own words follow.
    """
    folder.mkdir(parents=True, exist_ok=True)
    packed = np.packbits(spikes.astype(bool), axis=1, bitorder="little")
    (folder / "spikes.bin").write_bytes(packed.tobytes())
    with resources.as_file(target.FOLDER) as own:
        sources = sorted(path for path in program.glob("*.c") if path.name != "main.c")
        compiled = [(path, f"program-{path.stem}.o", ()) for path in sources]
        harness = (*HARNESS_FLAGS, f"-DBINS={len(spikes)}")
        for name in ("harness.c", "library.c", f"{machine.name}.S"):
            compiled.append((own / name, f"{Path(name).stem}.o", harness))
        include = (f"-I{program.absolute()}", "-I.", "-Wa,-I.")
        for source, made, flags in compiled:
            options = (*machine.flags, *FLAGS, *flags, *include)
            tool(machine, "gcc", *options, "-c", str(source.absolute()), "-o", made, folder=folder)
        script = (f"-L{own}", f"-T{machine.name}.ld", "-Wl,--gc-sections", "-Wl,-no-warn-rwx")
        objects = [made for _, made, _ in compiled]
        options = (*machine.flags, "-nostdlib", "-static", *script, *objects, "-lgcc")
        tool(machine, "gcc", *options, "-o", "firmware.elf", folder=folder)
    return Image(machine, folder, len(spikes), program)


def tool(machine: Machine, name: str, *arguments: str, folder: Path | None = None) -> str:
    """What a tool of a machine's compiler prints.

    Raises:
        FirmwareError: it failed, or is not there.
    """
    program = f"{machine.tools}{name}"
    try:
        done = programs.run([program, *arguments], limit_s=LIMIT_S, folder=folder)
    except FileNotFoundError:
        raise FirmwareError(
            f"{program} is not installed; on Debian and Ubuntu: apt install {machine.packages}"
        ) from None
    if done.code:
        raise FirmwareError(f"{program} failed with {arguments[-1]}:\n{done.errors.strip()}")
    return done.printed
