"""What the benchmarks share: their packages, a cluster and a server, migrations of generated tables, and measuring."""

import contextlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache/bench"
PYTHON = CACHE / "venv/bin/python"

loader = importlib.machinery.SourceFileLoader("bench_run", str(ROOT / "tests/bench/run"))
run = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_run", loader))
loader.exec_module(run)
BIN, measure = run.BIN, run.measure


def in_venv(*args):
    """Gets the packages and goes on in the Python that has them."""
    if pathlib.Path(sys.prefix).resolve() != (CACHE / "venv").resolve():
        subprocess.run([ROOT / "tests/bench/install", *args], check=True)
        os.execv(PYTHON, [PYTHON, *sys.argv])


def build():
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--bin", "crossfade", "--example", "generate"], cwd=ROOT, check=True)


def service(script, variable, stack):
    """Starts a cluster or a server for this run, unless the environment names one."""
    if variable not in os.environ:
        folder = tempfile.mkdtemp(prefix="crossfade-bench-")
        os.chmod(folder, 0o755)
        stack.callback(shutil.rmtree, folder, True)
        stack.callback(subprocess.run, [ROOT / "tests" / script, "stop", folder], stdout=subprocess.DEVNULL)
        more = ["--steady"] if script == "cluster" else []
        subprocess.run([ROOT / "tests" / script, "start", folder, *more], check=True, stdout=subprocess.DEVNULL)
        for line in (pathlib.Path(folder) / "env").read_text().splitlines():
            os.environ.update([re.sub("^export ", "", line).split("=", 1)])


@contextlib.contextmanager
def bench(args, kafka=True, postgres=True):
    """A `Bench` of tests/bench/run with its services, in a folder of its own."""
    with contextlib.ExitStack() as stack:
        if kafka:
            service("cluster", "CROSSFADE_TEST_KAFKA", stack)
        if postgres:
            service("postgres", "CROSSFADE_TEST_POSTGRES", stack)
        folder = pathlib.Path(tempfile.mkdtemp(prefix="crossfade-bench-"))
        stack.callback(shutil.rmtree, folder, True)
        found = run.Bench(folder, args)
        found.brokers = os.environ.get("CROSSFADE_TEST_KAFKA", "")
        yield found


def delete_topics(brokers, word):
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": brokers})
    names = [name for name in admin.list_topics(timeout=10).topics if word in name]
    for future in (admin.delete_topics(names) if names else {}).values():
        future.result()


def load():
    return f"load {os.getloadavg()[0]:.1f}"
