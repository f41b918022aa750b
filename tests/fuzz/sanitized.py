"""Builds a copy of the library with AddressSanitizer and UndefinedBehaviorSanitizer and runs tests on it; knows a
compiler and a folder, and no test.

``python tests/fuzz/sanitized.py FOLDER`` builds into FOLDER, what has changed alone, and runs the tests of the core;
what follows is for pytest, ``tests/unit/test_parser.py -x`` for example.
Status 77 where the compiler has no sanitizers.
"""

from __future__ import annotations

import glob
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: The tests of what is compiled, and those that send it what nobody thought of.
TESTS = """
    arrival asked backlog callback_tasks chain connection connection_life counts deadlines deflate deflate_frame
    delivery details done fragment fragments frames fuzzing glance in_memory inbox keepalive messages meter outbox
    parser permessage_deflate pieces protocol raw sending steps wheel wire_cases
"""
#: It counts the processor's time, of which sanitizers take four times as much.
SLOWED = "tests/unit/test_deflate.py::test_many_blocks_with_bfinal_cost_no_square"
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
FLAGS = [*SANITIZE, "-O1", "-g1", "-fno-omit-frame-pointer", "-Wno-error"]

BUILD = """
import glob, sys, tomllib
from Cython.Build import cythonize
from setuptools import Extension, setup

with open("pyproject.toml", "rb") as file:
    modules = tomllib.load(file)["tool"]["setuptools"]["ext-modules"]
heads = glob.glob("firefly_ws/_core/*.h")
flags = {flags!r}
setup(
    name="sanitized",
    packages=[],
    ext_modules=cythonize(
        [
            Extension(
                one["name"],
                one["sources"],
                extra_compile_args=[f for f in one["extra-compile-args"] if not f.startswith("-O")] + flags,
                extra_link_args={link!r},
                depends=heads,
            )
            for one in modules
        ],
        language_level=3,
        nthreads=2,
    ),
    script_args=["-q", "build_ext", "--inplace", "-j2"],
)
"""


def runtime() -> str | None:
    """Where the compiler has the sanitizer that must be loaded first, or None."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        return None
    asked = [*compiler, "-print-file-name=libasan.so"]
    found = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    name = found.stdout.strip()
    return os.path.realpath(name) if os.path.isabs(name) and os.path.exists(name) else None


def copy(folder: Path) -> None:
    """The checkout as it is, without what has been compiled from it."""
    kept = {".py", ".pyx", ".pxd", ".pyi", ".h", ".html", ".toml", ".c", ".md", ".json", ".bin"}
    for top in ("firefly_ws", "tests", "docs", "pyproject.toml", "README.md"):
        for path in [ROOT / top] if (ROOT / top).is_file() else sorted((ROOT / top).rglob("*")):
            made = path.suffix == ".c" and top == "firefly_ws"
            if not path.is_file() or made or path.suffix not in kept or "node_modules" in path.parts:
                continue
            target = folder / path.relative_to(ROOT)
            if target.exists() and target.read_bytes() == path.read_bytes():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for path in (folder / "tests").rglob("test_*.py"):  # that are gone meanwhile
        if not (ROOT / path.relative_to(folder)).exists():
            path.unlink()


def main(arguments: list[str]) -> int:
    """Build, then pytest with *arguments*; its status."""
    folder, given = Path(arguments[0]).resolve(), arguments[1:]
    if not any(one.startswith("tests/") for one in given):
        given = [*(f"tests/unit/test_{name}.py" for name in TESTS.split()), "tests/net/test_transport.py", *given]
    library = runtime()
    if library is None:
        print("the C compiler has no libasan.so")
        return 77
    copy(folder)
    program = BUILD.format(flags=FLAGS, link=SANITIZE)
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    assert glob.glob(str(folder / "firefly_ws/_core/*.so"))
    environment = os.environ | {
        "LD_PRELOAD": library,
        "PYTHONMALLOC": "malloc",  # an allocator of pools would hide what is read behind an object's end
        # The interpreter itself leaves much behind; a leak of ours shows in tests/soak.py.
        "ASAN_OPTIONS": "detect_leaks=0:exitcode=99:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONPATH": str(folder),
    }
    # A sanitizer writes to the descriptor: what pytest caught of that would end with the process.
    pytest = [sys.executable, "-m", "pytest", "--capture=sys", "--deselect", SLOWED]
    return subprocess.run([*pytest, *given], cwd=folder, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
