"""One word runs every check: `python -m tests` (format, lint, types, tests).

`--fix` formats and mends; `--slow` runs the long proofs too; `--other-onednn` runs the tests marked `onednn` alone, under
the setting of TF_ENABLE_ONEDNN_OPTS that is not in force here. Which one is depends on the processor, so TensorFlow is
asked; where it does not say, they run under both. All other arguments are pytest's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SWITCHES = ("--fix", "--slow", "--other-onednn")
USUAL = "not slow and not gpu and not network"
# Prints 1 where TensorFlow computes with oneDNN, 0 where it does not, nothing where it does not say.
ASK = "from tlkit.core.device import computes_with_onednn as on; print({True: 1, False: 0}.get(on(), ''))"


def steps(arguments: list[str]) -> list[tuple[list[str], dict[str, str]]]:
    """The commands to run, in order, each with what it changes in the environment."""
    fix, slow, other = (switch in arguments for switch in SWITCHES)
    pytest = pytest_command([a for a in arguments if a not in SWITCHES], slow=slow)
    if other:
        marked = [*pytest, "-m", f"onednn and {USUAL}"]
        return [(marked, {"TF_ENABLE_ONEDNN_OPTS": setting}) for setting in other_settings()]
    tools = [
        ["ruff", "format", *([] if fix else ["--check"]), "."],
        ["ruff", "check", *(["--fix"] if fix else []), "."],
        ["mypy"],
        pytest,
    ]
    return [(tool, {}) for tool in (tools[:2] if fix else tools)]


def pytest_command(others: list[str], *, slow: bool) -> list[str]:
    """Pytest on as many processes as there are cores, at most 4."""
    everything = ["-m", "not gpu and not network", "--override-ini=addopts=-q --strict-markers"]
    # A file stays with one process, and so do its fixtures. conftest.py puts long files first, and xdist leaves them there.
    workers = ["-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder"]
    return ["pytest", *workers, *(everything if slow else []), *others]


def other_settings() -> list[str]:
    """The settings of TF_ENABLE_ONEDNN_OPTS, "0" or "1", but for the one in force."""
    asked = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    return [setting for setting in ("0", "1") if setting != asked.stdout.strip()]


def main() -> int:
    """Run every step even when one fails; the exit code says whether all passed."""
    every = steps(sys.argv[1:])
    # Types take one processor half a minute: they are looked at while the tests begin, and told after them.
    beside = {
        step[0]: start(step, changed, quiet=True)
        for step, changed in every
        if step == ["mypy"] and len(every) > 1
    }
    every.sort(key=lambda one: one[0][0] in beside)
    failed = []
    for step, changed in every:
        words = [*(f"{name}={value}" for name, value in changed.items()), *step]
        print(f"\n== {' '.join(words)}", flush=True)
        began = time.monotonic()
        process = beside.get(step[0]) or start(step, changed)
        said = process.communicate()[0]
        print(said or "", end="")
        if process.returncode:
            failed.append(step[0])
        print(f"{step[0]}: {time.monotonic() - began:.0f} s", flush=True)
    print(f"\n{'failed: ' + ', '.join(failed) if failed else 'all checks passed'}")
    return int(bool(failed))


def start(step: list[str], changed: dict[str, str], *, quiet: bool = False) -> subprocess.Popen[str]:
    """A module as a process of its own; a quiet one's words are kept."""
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if quiet else {}
    return subprocess.Popen(
        [sys.executable, "-m", *step], cwd=ROOT, env=os.environ | changed, text=True, **out
    )


if __name__ == "__main__":
    raise SystemExit(main())
