"""One word runs every check: `python -m tests` (format, lint, types, tests), `--fix` formats, `--slow` runs all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def steps(arguments: list[str]) -> list[list[str]]:
    """The commands to run, in order."""
    fix, slow = "--fix" in arguments, "--slow" in arguments
    others = [a for a in arguments if a not in ("--fix", "--slow")]
    everything = (
        ["-m", "not gpu and not network", "--override-ini=addopts=-q --strict-markers"] if slow else []
    )
    workers = str(min(4, os.cpu_count() or 1))  # a file stays with one of them, and so do its fixtures
    tools = [
        ["ruff", "format", *([] if fix else ["--check"]), "."],
        ["ruff", "check", *(["--fix"] if fix else []), "."],
        ["mypy"],
        ["pytest", "-n", workers, "--dist", "loadfile", *everything, *others],
    ]
    return tools[:2] if fix else tools


def main() -> int:
    """Run every step even when one fails; the exit code says whether all passed."""
    failed = []
    for step in steps(sys.argv[1:]):
        print(f"\n== {' '.join(step)}", flush=True)
        if subprocess.run([sys.executable, "-m", *step], cwd=ROOT, check=False).returncode:
            failed.append(step[0])
    print(f"\n{'failed: ' + ', '.join(failed) if failed else 'all checks passed'}")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
