"""`EelsEngine`: runs `runner.py` in the virtual environment that the specification needs, and reads what it says.

`EelsEngine.session` keeps one runner for many documents.

The environment is made on first use, in ``.make/eels-venv`` of the checkout (``PARSEC_EELS_VENV`` names another place),
from ``requirements.txt`` beside this file. It is made again when that file changes.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.conformance.eels.results import Result, parse

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
RUNNER = HERE / "runner.py"
DEFAULT_VENV = HERE.parents[2] / ".make" / "eels-venv"

INSTALL_SECONDS_MAX = 300
RUN_SECONDS_MAX = 300


class EelsUnavailable(Exception):
    """The virtual environment cannot be made here: no uv, no network, or no wheel for this machine."""


class EelsFailed(Exception):
    """The runner ended with an error; the message has the end of what it wrote."""


class EelsEngine:
    """Executes lists of signed transactions by the specification, each call on a fresh state.

    Raises
    ------
    EelsUnavailable
        When it is made, if its virtual environment is neither there nor can be made.
    """

    def __init__(self, venv: Path | None = None) -> None:
        self.venv = venv or Path(os.environ.get("PARSEC_EELS_VENV", DEFAULT_VENV))
        self.python = ensure_venv(self.venv)

    def run_document(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Run an input document as `runner.py` describes it; returns the output document.

        Raises
        ------
        EelsFailed
            If the document is malformed, or the runner takes longer than ``RUN_SECONDS_MAX``.
        """
        try:
            # -I keeps the checkout and PYTHONPATH out of the other environment.
            done = subprocess.run(
                [str(self.python), "-I", str(RUNNER)],
                input=json.dumps(document), capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as exc:
            raise EelsFailed(f"the runner took longer than {RUN_SECONDS_MAX} s") from exc
        if done.returncode != 0:
            raise EelsFailed(f"the runner ended with {done.returncode}: {done.stderr[-2000:]}")
        output: dict[str, Any] = json.loads(done.stdout)
        return output

    def run(self, document: Mapping[str, Any]) -> Result:
        """Run an input document as `runner.py` describes it."""
        return parse(self.run_document(document))

    @contextmanager
    def session(self) -> Iterator["Session"]:
        """A runner that takes one document after the other, each on a fresh state; it ends with the context."""
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                [str(self.python), "-I", str(RUNNER), "--lines"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, text=True)
            try:
                yield Session(process, errors)
            finally:
                process.kill()
                process.communicate()


class Session:
    """A runner that is up; `EelsEngine.session` makes it."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self._process = process
        self._errors = errors

    def run(self, document: Mapping[str, Any]) -> Result:
        """Run an input document.

        Raises
        ------
        EelsFailed
            If the document is malformed, or the runner takes longer than ``RUN_SECONDS_MAX``; the session is over then.
        """
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise EelsFailed("the runner has no pipes")
        # A runner that hangs is killed, which ends the read below.
        timer = threading.Timer(RUN_SECONDS_MAX, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(document) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            process.kill()
            process.wait()
            self._errors.seek(0)
            raise EelsFailed(f"the runner ended, or took {RUN_SECONDS_MAX} s: {self._errors.read()[-2000:]}")
        return parse(json.loads(line))


def ensure_venv(venv: Path) -> Path:
    """Make the virtual environment unless it is there and current; returns its Python.

    Raises
    ------
    EelsUnavailable
        If it cannot be made; the message says why.
    """
    python = python_of(venv)
    stamp = "requirements.txt"  # a copy, put in last: an environment without it is incomplete
    wanted = REQUIREMENTS.read_text()
    if python.exists() and (venv / stamp).is_file() and (venv / stamp).read_text() == wanted:
        return python

    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise EelsUnavailable("uv isn't installed")
    venv.parent.mkdir(parents=True, exist_ok=True)
    # It is made beside its place and moved there, so that test processes that start together don't disturb each other.
    with tempfile.TemporaryDirectory(prefix=f"{venv.name}-", dir=venv.parent) as scratch:
        made = Path(scratch) / "venv"
        # coincurve 20 has no wheels for Python 3.13.
        interpreter = sys.executable if sys.version_info < (3, 13) else "3.12"
        install([uv, "venv", "--quiet", "--python", interpreter, str(made)])
        install([uv, "pip", "install", "--quiet", "--python", str(python_of(made)), "-r", str(REQUIREMENTS)])
        (made / stamp).write_text(wanted)
        try:
            if venv.exists():
                venv.rename(Path(scratch) / "old")
            made.rename(venv)
        except OSError:
            # Another process was faster; its environment is as good.
            if not python.exists():
                raise
    return python


def python_of(venv: Path) -> Path:
    """Where a virtual environment has its interpreter."""
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def install(command: list[str]) -> None:
    """Run one step of making the environment."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired as exc:
        raise EelsUnavailable(f"{command[1]} took longer than {INSTALL_SECONDS_MAX} s") from exc
    if done.returncode != 0:
        raise EelsUnavailable(f"uv {command[1]} failed: {done.stderr[-500:].strip()}")
