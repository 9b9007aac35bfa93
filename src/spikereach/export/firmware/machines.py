"""The microcontrollers: their compilers, their emulators, and how instructions are counted."""

import shutil
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Machine:
    """A microcontroller as QEMU has it.

    ``target/NAME.S`` and ``target/NAME.ld`` are its start-up code and its memories.
    """

    name: str
    title: str
    """As tables print it."""
    tools: str
    """Prefix of its compiler and binary tools."""
    flags: tuple[str, ...]
    """Of the compiler: the instruction set."""
    emulator: tuple[str, ...]
    """QEMU and its board."""
    shift: int
    """QEMU lets 2**shift ns pass with each instruction."""
    instructions: Fraction
    """Per step of the counter that the firmware reads."""
    packages: str
    """Of Debian, that bring all this."""

    @property
    def programs(self) -> tuple[str, ...]:
        """Without which nothing is measured."""
        return (*(f"{self.tools}{tool}" for tool in ("gcc", "size", "nm")), self.emulator[0])


_SHIFT = 8
_TICK_NS = 40
"""Of the board's timer, at 25 MHz. An instruction takes 6.4 of them, so that rounding is exact."""

MACHINES = {
    machine.name: machine
    for machine in (
        Machine(
            name="cortex-m4",
            title="Cortex-M4",
            tools="arm-none-eabi-",
            flags=("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft"),
            emulator=("qemu-system-arm", "-machine", "mps2-an386"),
            shift=_SHIFT,
            instructions=Fraction(_TICK_NS, 2**_SHIFT),
            packages="gcc-arm-none-eabi qemu-system-arm",
        ),
        Machine(
            name="rv32imc",
            title="RV32IMC",
            tools="riscv64-unknown-elf-",
            flags=("-march=rv32imc", "-mabi=ilp32"),
            emulator=("qemu-system-riscv32", "-machine", "virt", "-bios", "none"),
            shift=0,
            instructions=Fraction(1),
            packages="gcc-riscv64-unknown-elf qemu-system-misc",
        ),
    )
}


def missing() -> str | None:
    """What this computer lacks to measure, and the remedy, in a sentence; None where it has all."""
    lacking = [
        (program, machine.packages)
        for machine in MACHINES.values()
        for program in machine.programs
        if shutil.which(program) is None
    ]
    if not lacking:
        return None
    programs = ", ".join(program for program, _ in lacking)
    packages = " ".join(dict.fromkeys(packages for _, packages in lacking))
    return f"{programs} not found here; on Debian and Ubuntu: apt install {packages}"
