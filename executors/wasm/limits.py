"""The numbers of this machine: prices in gas and limits. They are part of the rules, as the machine's version says.

The limits on code bound the time that its compilation takes, which grows faster than its length where many loops meet
many local variables, or many branches one function: no module within all of them takes longer than about a second.
"""

from typing import Final

FUEL_PER_GAS: Final = 10
"""Units of wasmtime's fuel, about one for each instruction, in one gas; rounded up to whole gas where it is settled.

Measured on one core, compiled code takes 1.4 to 2.5 ns for a unit, so one gas 14 to 25 ns; code that does nothing but
call, calculate with floats or grow its memory takes 8, 20 or 50 ns for a unit. The EVM takes 30 to 80 ns for one gas,
and up to 210 in its slowest precompiled contract.
"""
IMPORT_GAS: Final = 80
"""Each call of an imported function, beside what it costs by itself: about 3 µs to get out of the sandbox and back."""
COPY_WORD_GAS: Final = 3
"""Each word of 32 bytes copied into the memory or out of it, as for the copying instructions of the EVM."""
PAGE_GAS: Final = 500
"""Each page of memory (64 KiB), those included that the module begins with."""
CODE_WORD_GAS: Final = 3
"""Each word of the module's code in each message: it has to be found, and may have to be compiled again."""

MEMORY_PAGES_MAX: Final = 256
"""16 MiB. Growing beyond gives -1."""
STACK_BYTES_MAX: Final = 262_144
"""Of the interpreter's stack, for each message."""
TABLE_ELEMENTS_MAX: Final = 4_096
OUTPUT_BYTES_MAX: Final = 131_072
"""Of what a contract returns, and of what it gives to another one that it calls."""

TEXT_BYTES_MAX: Final = 524_288
"""Of a module in text form, before it is turned into the binary one."""
TYPES_MAX: Final = 1_024
PARAMETERS_MAX: Final = 64
"""Of one type of functions."""
FUNCTIONS_MAX: Final = 2_048
GLOBALS_MAX: Final = 1_024
SEGMENTS_MAX: Final = 1_024
"""Of data and of table elements, each."""
FUNCTION_BYTES_MAX: Final = 32_768
LOCALS_MAX: Final = 512
"""Local variables and parameters of one function."""
FUNCTION_BRANCHES_MAX: Final = 1_500
"""Blocks, loops, ifs, and targets of branches in one function."""
FUNCTION_LOOPS_MAX: Final = 128
BRANCHES_MAX: Final = 10_000
"""The same in all functions together."""
HEAVY_MAX: Final = 2_048
"""Indirect calls, and instructions that copy, fill or grow, in all functions together."""
LOOP_LOCALS_MAX: Final = 100_000
"""The sum over all functions of loops times local variables."""
BRANCH_LOCALS_MAX: Final = 1_000_000
"""The sum over all functions of branches times local variables."""

MODULES_MAX: Final = 512
"""Compiled modules that a process keeps."""
MODULES_BYTES_MAX: Final = 16_777_216
"""Of their code, before compilation."""
