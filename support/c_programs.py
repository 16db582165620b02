"""Programs in C that a test compiles and runs, on this machine and as 32-bit Arm code under qemu."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.engine.c.writing import Written

    Array = npt.NDArray[Any]

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")

ARM = ("-mcpu=cortex-m4", "-mthumb", "-nostartfiles")

REALS = {"float": "f4", "double": "f8"}

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


def compiled(written: Written, *options: str, compiler: str = "gcc") -> Path:
    """Compile a network with its main function, warnings as errors."""
    program = written.source.with_name(f"{written.name}-{compiler}")
    command = [tool(compiler), *STRICT, f"-D{written.name}_MAIN", *(options or ("-O1",)), "-o", str(program)]
    _checked([*command, str(written.source)])
    return program


def for_arm(written: Written, *options: str) -> list[str]:
    """Compile a network for a Cortex-M4, and return the command that runs it."""
    runner, compiler = tool("qemu-arm"), tool("arm-none-eabi-gcc")
    stubs = written.source.with_name("linux.c")
    stubs.write_text(LINUX)
    objects = []
    for source, flags in ((written.source, STRICT), (stubs, ())):
        objects.append(str(source.with_suffix(".o")))
        defined = f"-D{written.name}_MAIN"
        _checked([compiler, *flags, *ARM[:2], *options, "-O1", defined, "-c", "-o", objects[-1], str(source)])
    program = str(written.source.with_name("arm"))
    _checked([compiler, *ARM, *options, "-o", program, *objects])
    return [runner, program]


def _checked(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[:3000]}"


def spikes(command: list[str], written: Written, frames: Array) -> tuple[Array, dict[str, Array]]:
    """Run frames [T, B, C, H, W]; return outputs [T, B, K], and spikes [T, B, C, H, W] of each layer."""
    steps, samples = frames.shape[:2]
    kind = np.dtype("u1" if written.counts else REALS[written.real])
    given = np.ascontiguousarray(frames.swapaxes(0, 1).astype(kind)).tobytes()
    raw = np.frombuffer(_run([*command, "spikes", str(steps)], given), np.uint8).reshape(samples, steps, -1)
    found, at = {}, 0
    for name, (channels, height, width) in written.neurons:
        count = channels * height * width
        layer = raw[:, :, at : at + count].reshape(samples, steps, height, width, channels)
        found[name] = layer.transpose(1, 0, 4, 2, 3)
        at += count
    outputs = raw[:, :, at:].copy().view(REALS[written.real])
    return outputs.swapaxes(0, 1), found


def scores(command: list[str], written: Written, frames: Array) -> tuple[Array, Array]:
    """Run frames [T, B, C, H, W]; return classes [B] and scores [B, K]."""
    kind = np.dtype("u1" if written.counts else REALS[written.real])
    given = np.ascontiguousarray(frames.swapaxes(0, 1).astype(kind)).tobytes()
    return _answers(_run([*command, "frames", str(len(frames))], given), written)


def answered(command: list[str], written: Written, events: Array) -> tuple[Array, Array]:
    """Run events, a structured array with x, y, p, t; return the class [1] and scores [1, K]."""
    packed = np.zeros(len(events), np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")]))
    for name in "txyp":
        packed[name] = events[name]
    return _answers(_run(command, packed.tobytes()), written)


def _answers(said: bytes, written: Written) -> tuple[Array, Array]:
    rows = [line.split() for line in said.decode().splitlines()]
    classes, numbers = [int(row[0]) for row in rows], [row[1:] for row in rows]
    return np.array(classes), np.array(numbers).astype(REALS[written.real])


def _run(command: list[str], given: bytes) -> bytes:
    done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
