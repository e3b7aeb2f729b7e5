"""A small made-up result of a benchmark, as `uring-rawlog bench --output` writes it."""

import copy
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from relay import ROOT


def _figure(name, unit, plain, recorded, floor, ratio, **more):
    return {"name": name, "unit": unit, "plain": {"cpu_ns": plain, "per_second": 1000.0},
            "recorded": {"cpu_ns": recorded, "per_second": 900.0}, "ratio": ratio, "overhead_ns": recorded - plain,
            "floor_ns": floor, "spread": [1.0, 2.0], "repetitions": 11, "units": 1000, "checksum": "abc",
            "load_per_second": 5000.0, "load_cpu_ns": 1.0, **more}


def _peer(name, workload, unit, cpu):
    return {"name": name, "version": "1", "configuration": "none", "workload": workload, "unit": unit, "cpu_ns": cpu,
            "per_second": 10.0, "plain_ratio": 0.5, "recorded_ratio": 0.6, "spread": [0.5, 0.7]}


_RESULT = {
    "version": 1, "program": "uring-rawlog 9.9.9", "commit": "0123abc", "date": "2026-01-31",
    "command": "uring-rawlog bench --peers --output bench-results/made-up.json",
    "machine": {"cpu": "Made <Up> & Co", "cores": 4, "memory_bytes": 8 << 30, "kernel": "6.12.1", "file_system": "ext4",
                "architecture": "x86_64"},
    "workloads": [
        _figure("bulk", "byte", 0.25, 0.45, 0.17, 1.81),
        _figure("pingpong", "message", 5000.0, 5250.0, 90.0, 1.05),
        _figure("mail", "session", 143000.0, 201000.0, 47000.0, 1.41),
        _figure("churn", "session", 77100.0, 121000.0, 42000.0, 1.57,
                variants=[{"name": "recorded on tmpfs", "cpu_ns": 88800.0, "per_second": 1.0, "ratio": 1.15,
                           "spread": [1.1, 1.2]}]),
    ],
    "peers": [
        _peer("nginx", "bulk", "byte", 0.525), _peer("nginx", "churn", "session", 76900.0),
        _peer("socat -r -R", "churn", "session", 686000.0), _peer("Dovecot's rawlog", "churn", "session", 3748000.0),
    ],
    "message_sizes": [
        {"bytes": 64, "plain_cpu_ns": 5000.0, "recorded_cpu_ns": 5250.0, "ratio": 1.0523, "floor_ns": 31.4},
        {"bytes": 4096, "plain_cpu_ns": 6000.0, "recorded_cpu_ns": 6900.0, "ratio": None, "floor_ns": 640.0},
        {"bytes": 65536, "plain_cpu_ns": 20000.0, "recorded_cpu_ns": 34000.0, "ratio": 1.7, "floor_ns": 11200.0},
    ],
}


class ResultScript(unittest.TestCase):
    """Runs a script of the repository that reads results."""

    SCRIPT = None

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="rawlog-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory)
        self.result = copy.deepcopy(_RESULT)

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def written(self):
        return self.write("result.json", json.dumps(self.result))

    def run_script(self, *arguments):
        """Exit code, standard output, standard error."""
        done = subprocess.run([os.path.join(ROOT, "scripts", self.SCRIPT), *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    def refused(self, code, *arguments, names=()):
        """It must fail with this code and one line."""
        found, output, errors = self.run_script(*arguments)
        self.assertEqual((found, output), (code, ""), errors)
        self.assertEqual(len(errors.splitlines()), 1, errors)
        self.assertTrue(errors.startswith(f"{self.SCRIPT}: "), errors)
        for name in names:
            self.assertIn(name, errors)

    def refuses_what_is_no_result(self, *more):
        missing = self.path("missing.json")
        self.refused(66, missing, *more, names=[missing])
        self.refused(65, self.write("text.json", "not JSON"), *more, names=["text.json"])
        self.refused(65, self.write("list.json", "[1, 2]"), *more, names=["list.json"])
        self.refused(65, self.write("other.json", '{"version": 2, "workloads": []}'), *more, names=["version 2"])
        self.refused(64, names=["--help"])
        del self.result["machine"]
        self.refused(65, self.written(), *more, names=["machine"])
