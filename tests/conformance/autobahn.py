"""Runs Autobahn's test suite against both roles and judges its report; knows nothing of the library's inside.

    python tests/conformance/autobahn.py [--role server|client|both] [--cases 6.* 12.1.*] [--exclude 9.*]

A case passes when its behaviour and its closing behaviour are OK or INFORMATIONAL; NON-STRICT fails.
The suite needs Python 2.7: without one, a single SKIPPED line says so and the exit status is 0.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = ROOT / "build" / "autobahn"
RESULT = HERE / "RESULT.txt"
AGENT = "firefly_ws"
ALL_CASES = 517
GOOD = {"OK", "INFORMATIONAL"}
ROLES = ("server", "client")

# wstest as a module, from a directory of packages (site, because zope is a namespace package there),
# and with its own server on the loopback interface alone, which it has no option for.
LAUNCH = """
import functools, os, site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite import wstest, fuzzing
fuzzing.listenWS = functools.partial(fuzzing.listenWS, interface="127.0.0.1")
sys.argv[0] = "wstest"
wstest.run()
"""


CHILDREN: set[subprocess.Popen[str]] = set()


class Broken(Exception):
    """The examination itself did not work, whatever the library did."""


def find_python27() -> str | None:
    """A Python 2.7 with pip: from PYTHON27, pyenv, or PATH."""
    candidates = [os.environ.get("PYTHON27", "")]
    if pyenv := shutil.which("pyenv"):
        listed = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=False).stdout
        for version in listed.split():
            if version.startswith("2.7"):
                prefix = subprocess.run([pyenv, "prefix", version], capture_output=True, text=True, check=False)
                candidates.append(os.path.join(prefix.stdout.strip(), "bin", "python2.7"))
    candidates.append(shutil.which("python2.7") or "")
    probe = "import sys, pip; sys.exit(sys.version_info[:2] != (2, 7))"
    for candidate in filter(os.path.exists, candidates):
        if subprocess.run([candidate, "-c", probe], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def install_suite(python: str) -> Path:
    """The suite's packages below the cache, installed when their list has changed."""
    wanted = HERE / "wstest.txt"
    stamp = hashlib.sha256(wanted.read_bytes()).hexdigest()[:16]
    target = CACHE / f"python2.7-{stamp}"
    if target.exists():
        return target
    unfinished = CACHE / f"unfinished-{os.getpid()}"
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    print("installing the Autobahn test suite ...", flush=True)
    command = [python, "-m", "pip", "install", "-q", "--no-deps", "--target", str(unfinished), "-r", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise Broken(f"pip could not install the suite:\n{done.stdout}{done.stderr}")
    unfinished.rename(target)
    return target


@contextmanager
def process(command: Sequence[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A child that is gone when the block is left, ended by its own id."""
    with log.open("w") as output:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=output, text=True, **options)
    CHILDREN.add(child)
    try:
        yield child
    finally:
        CHILDREN.discard(child)
        for end in (signal.SIGTERM, signal.SIGKILL):
            if child.poll() is None:
                child.send_signal(end)
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    continue
        if child.stdout:
            child.stdout.close()


def end_children(*_: object) -> None:
    """On a signal: whoever waits for one of them sees it ended, and what it said."""
    for child in list(CHILDREN):
        child.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_listening(port: int, child: subprocess.Popen[str], log: Path) -> None:
    for _ in range(300):
        if child.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise Broken(f"the fuzzing server does not listen:\n{log.read_text()}")


class Examination:
    """One role's run: the suite on one side, the library's script on the other."""

    def __init__(self, role: str, python: str, packages: Path, options: argparse.Namespace) -> None:
        self.role = role
        self.options = options
        self.outdir = CACHE / role
        self.results: dict[str, dict[str, Any]] = {}
        self.seconds = 0.0
        self.error: str | None = None
        self._wstest = [python, "-S", "-W", "ignore", "-c", LAUNCH, str(packages)]
        # The examined library is the one of this checkout, whatever else is installed.
        self._environ = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def run(self) -> None:
        began = time.monotonic()
        shutil.rmtree(self.outdir, ignore_errors=True)
        self.outdir.mkdir(parents=True)
        try:
            if self.role == "server":
                self._examine_server()
            else:
                self._examine_client()
            index = self.outdir / "report" / "index.json"
            if not index.exists():
                raise Broken(f"the suite wrote no report; see {self.outdir.relative_to(ROOT)}")
            self.results = json.loads(index.read_text()).get(AGENT, {})
        except Broken as error:
            self.error = str(error)
        self.seconds = time.monotonic() - began

    def _examine_server(self) -> None:
        log = self.outdir / "server.log"
        with process(
            [sys.executable, str(HERE / "echo_server.py")], log, stdout=subprocess.PIPE, env=self._environ
        ) as server:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            if not port:
                raise Broken(f"the examined server did not start:\n{log.read_text()}")
            spec = self._spec(servers=[{"agent": AGENT, "url": f"ws://127.0.0.1:{port}/"}])
            suite_log = self.outdir / "wstest.log"
            with process(
                [*self._wstest, "-m", "fuzzingclient", "-s", spec], suite_log, stdout=subprocess.DEVNULL
            ) as suite:
                self._wait(suite, suite_log, "the fuzzing client")
            if server.poll() is not None:
                raise Broken(f"the examined server has ended, status {server.returncode}:\n{log.read_text()}")

    def _examine_client(self) -> None:
        url = f"ws://127.0.0.1:{(port := free_port())}"
        suite_log, log = self.outdir / "wstest.log", self.outdir / "client.log"
        command = [*self._wstest, "-m", "fuzzingserver", "-u", "0", "-s", self._spec(url=url)]
        with process(command, suite_log, stdout=subprocess.DEVNULL) as suite:
            await_listening(port, suite, suite_log)
            examined = [sys.executable, str(HERE / "echo_client.py"), url, AGENT]
            with process(examined, log, stdout=subprocess.DEVNULL, env=self._environ) as client:
                self._wait(client, log, "the examined client")

    def _spec(self, **more: Any) -> str:
        path = self.outdir / "spec.json"
        spec = {
            "outdir": str(self.outdir / "report"),
            "cases": self.options.cases,
            "exclude-cases": self.options.exclude,
            "exclude-agent-cases": {},
            **more,
        }
        path.write_text(json.dumps(spec))
        return str(path)

    def _wait(self, child: subprocess.Popen[str], log: Path, what: str) -> None:
        try:
            status = child.wait(self.options.timeout)
        except subprocess.TimeoutExpired:
            raise Broken(f"{what} was not done after {self.options.timeout:g} seconds:\n{log.read_text()}") from None
        if status:
            raise Broken(f"{what} ended with status {status}:\n{log.read_text()}")

    def bad(self) -> list[str]:
        return sorted((case for case, found in self.results.items() if not passed(found)), key=in_order)

    def ok(self) -> bool:
        return self.error is None and not self.bad() and len(self.results) == self.expected()

    def expected(self) -> int:
        """How many cases the run should have had; a subset is as large as it came out, but not empty."""
        return max(1, len(self.results)) if subset(self.options) else ALL_CASES


def subset(options: argparse.Namespace) -> bool:
    return bool(options.cases != ["*"] or options.exclude)


def passed(found: dict[str, Any]) -> bool:
    return found["behavior"] in GOOD and found["behaviorClose"] in GOOD


def in_order(case: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", case)))


def tested_commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False).stdout

    changed = [
        line
        for line in git("status", "--porcelain", "--untracked-files=no").splitlines()
        if not line.endswith(RESULT.name)
    ]
    return (git("rev-parse", "HEAD").strip() or "unknown") + (" with uncommitted changes" if changed else "")


def table(examinations: Sequence[Examination]) -> str:
    """The whole result as text: no dates, no durations, so that two equal runs give equal files."""
    lines = [
        "Autobahn test suite 0.8.2",
        f"commit {tested_commit()}",
        "max_message_size and max_queue raised to 32 MiB, permessage-deflate offered, all else at its default.",
        "A case passes as OK or INFORMATIONAL, in its behaviour and in the way it closes.",
    ]
    for one in examinations:
        verdicts = Counter(found["behavior"] for found in one.results.values())
        closes = Counter(found["behaviorClose"] for found in one.results.values())
        lines += ["", f"{one.role}: {len(one.results)} cases, {len(one.bad())} failed"]
        lines += [f"  behaviour: {counted(verdicts)}", f"  close: {counted(closes)}"]
        lines += [f"  {line}" for line in (one.error or "").splitlines()]
        if one.error is None and len(one.results) != one.expected():
            lines.append(f"  {one.expected()} cases were expected")
        for section in sorted({in_order(case)[0] for case in one.results}):
            inside = [found for case, found in one.results.items() if in_order(case)[0] == section]
            lines.append(f"  section {section:2}: {sum(map(passed, inside)):3} of {len(inside):3}")
        informational = [
            case
            for case in sorted(one.results, key=in_order)
            if passed(one.results[case]) and "INFORMATIONAL" in verdict(one.results[case])
        ]
        if informational:
            lines.append(f"  informational: {', '.join(informational)}")
        lines += [f"  failed {case}: {verdict(one.results[case])}" for case in one.bad()]
    return "\n".join(lines) + "\n"


def verdict(found: dict[str, Any]) -> str:
    return f"{found['behavior']}, close {found['behaviorClose']} (their code {found['remoteCloseCode']})"


def counted(verdicts: Counter[str]) -> str:
    return ", ".join(f"{verdicts[name]} {name}" for name in sorted(verdicts)) or "nothing"


def main() -> int:
    parser = argparse.ArgumentParser(description="Autobahn's test suite against this checkout")
    parser.add_argument("--role", choices=[*ROLES, "both"], default="both")
    parser.add_argument("--cases", nargs="+", default=["*"], metavar="PATTERN", help="such as 6.* or 12.1.1")
    parser.add_argument("--exclude", nargs="+", default=[], metavar="PATTERN")
    parser.add_argument("--timeout", type=float, default=2400.0, help="seconds for one role")
    parser.add_argument("--parallel", action="store_true", help="both roles at once, for a machine with idle cores")
    parser.add_argument(
        "--result",
        type=Path,
        help="where the result goes; a run of both roles and of all cases "
        "writes tests/conformance/RESULT.txt without being asked",
    )
    options = parser.parse_args()
    python = find_python27()
    if python is None:
        print(
            "SKIPPED Autobahn: it runs on Python 2.7 with pip, and neither pyenv nor PATH has one "
            "(PYTHON27 names another)"
        )
        return 0
    try:
        packages = install_suite(python)
    except Broken as error:
        print(f"FAILED Autobahn: {error}")
        return 1
    roles = ROLES if options.role == "both" else (options.role,)
    examinations = [Examination(role, python, packages, options) for role in roles]
    runs = [threading.Thread(target=one.run) for one in examinations]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end_children)
    for run in runs:
        run.start()
        if not options.parallel:
            run.join()
    for run in runs:
        run.join()
    text = table(examinations)
    print(text, end="")
    print("seconds:", ", ".join(f"{one.role} {one.seconds:.0f}" for one in examinations))
    whole = options.role == "both" and not subset(options) and not any(one.error for one in examinations)
    if where := options.result or (RESULT if whole else None):
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text)
        print(f"written to {os.path.relpath(where)}")
    return 0 if all(one.ok() for one in examinations) else 1


if __name__ == "__main__":
    sys.exit(main())
