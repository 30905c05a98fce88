"""A stand-in for the compiler of device kernels, which the ttnn wheel does not bring.

ttnn compiles kernels when an op is first called, with a RISC-V g++ that it looks for below its runtime root. Here a
shell script answers every compilation with one small file: an ELF whose code returns at once. Nothing runs it.
"""

from __future__ import annotations

import struct

SCRIPT = """#!/bin/sh
# Stands in for the compiler of device kernels: whatever is compiled, the result is kernel.elf beside this file.
case "$1" in --version|-dumpversion|-dumpfullversion|-v)
  echo "riscv-tt-elf-g++ (tenstorrent/sfpi:7.89.0[1050]) 15.1.0"; exit 0;; esac
out=; deps=; source=
while [ $# -gt 0 ]; do
  case "$1" in -o) out=$2; shift;; -MF) deps=$2; shift;; *.cc|*.cpp) source=$1;; esac
  shift
done
if [ -n "$deps" ]; then printf '%s: %s\\n' "$out" "$source" > "$deps"; fi
if [ -n "$out" ]; then cp "${0%/*}/kernel.elf" "$out"; fi
"""

RISC_V, EXECUTABLE, CODE, SYMBOLS, STRINGS, RELOCATIONS = 243, 2, 1, 2, 3, 4
"""Numbers of the ELF standard: the machine, the type of file, the types of sections."""
HEADER, SEGMENT, SECTION, SYMBOL = 52, 32, 40, 16
"""Bytes that each takes in a 32-bit file."""


def kernel(address: int = 0x6000) -> bytes:
    """An ELF file for 32-bit RISC-V: one segment of code that returns, and an empty table of relocations.

    Args:
        address: where the code is to lie.
    """
    code = struct.pack("<4I", 0x00008067, 0x13, 0x13, 0x13)  # ret, then no-ops
    sections = (".text", ".rela.text", ".symtab", ".strtab", ".shstrtab")
    names = b"\0" + b"".join(section.encode() + b"\0" for section in sections)
    strings = b"\0_start\0"
    # A global function in section 1, after the empty symbol that every table begins with.
    symbols = bytes(SYMBOL) + struct.pack("<IIIBBH", 1, address, len(code), 0x12, 0, 1)
    code_at = -(-(HEADER + SEGMENT) // 16) * 16
    symbols_at = code_at + len(code)
    strings_at = symbols_at + len(symbols)
    names_at = strings_at + len(strings)
    table_at = -(-(names_at + len(names)) // 4) * 4

    def section(name: str, kind: int, flags: int, at: int, offset: int, *rest: int) -> bytes:
        return struct.pack("<10I", names.index(name.encode() + b"\0"), kind, flags, at, offset, *rest)

    table = bytes(SECTION)
    table += section(".text", CODE, 6, address, code_at, len(code), 0, 0, 4, 0)
    table += section(".rela.text", RELOCATIONS, 0x40, 0, code_at, 0, 3, 1, 4, 12)
    table += section(".symtab", SYMBOLS, 0, 0, symbols_at, len(symbols), 4, 1, 4, SYMBOL)
    table += section(".strtab", STRINGS, 0, 0, strings_at, len(strings), 0, 0, 1, 0)
    table += section(".shstrtab", STRINGS, 0, 0, names_at, len(names), 0, 0, 1, 0)
    header = b"\x7fELF\x01\x01\x01" + bytes(9)
    header += struct.pack(
        "<HHIIIIIHHHHHH",
        EXECUTABLE,
        RISC_V,
        1,
        address,
        HEADER,
        table_at,
        0,
        HEADER,
        SEGMENT,
        1,
        SECTION,
        6,
        5,
    )
    segment = struct.pack("<8I", 1, code_at, address, address, len(code), len(code), 5, 16)
    body = (header + segment).ljust(code_at, b"\0") + code + symbols + strings + names
    return body.ljust(table_at, b"\0") + table
