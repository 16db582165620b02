"""Programs in C that a test compiles and runs, on this machine and as 32-bit Arm code under qemu."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from snnprune.engine.c.running import Runner

if TYPE_CHECKING:
    from snnprune.engine.c.writing import Written

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")

ARM = ("-mcpu=cortex-m4", "-mthumb", "-nostartfiles")

LINUX = r"""
#include <stddef.h>
void exit(int code);
int main(int argc, char **argv);
static int call(int number, int a, int b, int c)
{
    register int r7 __asm__("r7") = number;
    register int r0 __asm__("r0") = a;
    register int r1 __asm__("r1") = b;
    register int r2 __asm__("r2") = c;
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2) : "memory");
    return r0;
}
static char heap[1 << 16];
static size_t used;
void *_sbrk(int n) { void *p = heap + used; used += (size_t)n; return used > sizeof heap ? (void *)-1 : p; }
int _read(int f, char *p, int n) { return call(3, f, (int)p, n); }
int _write(int f, char *p, int n) { return call(4, f, (int)p, n); }
int _close(int f) { (void)f; return 0; }
int _lseek(int f, int o, int w) { (void)f; (void)o; (void)w; return 0; }
int _isatty(int f) { (void)f; return 0; }
int _fstat(int f, void *s) { (void)f; (void)s; return -1; }
int _kill(int p, int s) { (void)p; (void)s; return 0; }
int _getpid(void) { return 1; }
void _exit(int code) { for (;;) { call(248, code, 0, 0); } }
void _init(void) { }
void _fini(void) { }
__attribute__((used)) void begin(int *sp) { exit(main(sp[0], (char **)(sp + 1))); }
__attribute__((naked)) void _start(void)
{
    __asm__("mov r0, sp\n bic r1, r0, #7\n mov sp, r1\n b begin\n");
}
"""
"""What newlib asks of a system, as calls of Linux: qemu-arm runs the program of a Cortex-M4 on them."""


def tool(name: str) -> str:
    """Return the path of a tool, or skip the test."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} here")
    return found


def compiled(written: Written, *options: str, compiler: str = "gcc") -> Runner:
    """Compile a network with its main function, warnings as errors."""
    program = str(written.source.with_name(f"{written.name}-{compiler}"))
    command = [tool(compiler), *STRICT, f"-D{written.name}_MAIN", *(options or ("-O1",)), "-o", program]
    checked([*command, str(written.source)])
    return Runner(written, (program,))


def for_arm(written: Written, *options: str) -> Runner:
    """Compile a network for a Cortex-M4, to be run under qemu."""
    runner, compiler = tool("qemu-arm"), tool("arm-none-eabi-gcc")
    stubs = written.source.with_name("linux.c")
    stubs.write_text(LINUX)
    objects = []
    for source, flags in ((written.source, STRICT), (stubs, ())):
        objects.append(str(source.with_suffix(".o")))
        defined = f"-D{written.name}_MAIN"
        checked([compiler, *flags, *ARM[:2], *options, "-O1", defined, "-c", "-o", objects[-1], str(source)])
    program = str(written.source.with_name("arm"))
    checked([compiler, *ARM, *options, "-o", program, *objects])
    return Runner(written, (runner, program))


def checked(command: list[str]) -> str:
    """Run a command that has to succeed, and return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[:3000]}"
    return done.stdout
