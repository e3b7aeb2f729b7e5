"""`uring-rawlog bench`: what it says, what it writes, how it ends, and that it leaves nothing behind.

All runs are `--tiny` (hidden): everything happens, and no figure is worth quoting. Nothing here looks at a figure's size.
"""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import unittest

from relay import PROGRAM, run, wait_until

TIMED = ("bulk", "bulk16", "pingpong", "mail", "churn", "tls-bulk", "tls-churn")
WORKLOADS = TIMED + ("sizes", "idle")
UNITS = {"bulk": "byte", "bulk16": "byte", "pingpong": "message", "mail": "session", "churn": "session",
         "tls-bulk": "byte", "tls-churn": "session"}
COST = {"cpu_ns", "per_second", "p50_us", "p99_us"}
PEERS = ("nginx with its stream module", "HAProxy", "socat", "Dovecot's rawlog")
ROOT = os.geteuid() == 0


def processes(environment_mark):
    """The processes that are alive and have this in their environment, whoever their parent is by now."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if environment_mark in file.read():
                    found.append(int(name))
        except OSError:
            continue
    return found


class Bench(unittest.TestCase):
    """Runs with a directory of their own for everything temporary, and a mark that all their processes bear."""

    def setUp(self):
        self.base = tempfile.mkdtemp(prefix="rawlog-bench-test-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.base)
        # Dovecot's rawlog is run as nobody.
        os.chmod(self.base, 0o755)
        self.temporary = os.path.join(self.base, "temporary")
        os.mkdir(self.temporary, 0o755)
        self.mark = f"BENCH_TEST_MARK={os.path.basename(self.base)}"
        self.output = os.path.join(self.base, "result.json")
        self.in_memory = self.memory_directories()

    def environment(self, **more):
        name, value = self.mark.split("=")
        return {**os.environ, "TMPDIR": self.temporary, name: value, **more}

    @staticmethod
    def memory_directories():
        try:
            return {name for name in os.listdir("/dev/shm") if name.startswith("uring-rawlog-bench-")}
        except OSError:
            return set()

    def bench(self, *arguments, first="bench", **environment):
        return run(first, *arguments, timeout=120, env=self.environment(**environment))

    def nothing_is_left(self):
        self.assertEqual(os.listdir(self.temporary), [])
        # Others may run the benchmark at the same time; what this run made is gone, for it had ended.
        left = self.memory_directories() - self.in_memory
        self.assertEqual([name for name in left if self.is_ours(name)], [])
        # A process that was killed takes a moment to go.
        wait_until(lambda: not processes(self.mark.encode()), what="every process of the run to end")

    def is_ours(self, name):
        """Whether a directory in memory is of a run that has ended."""
        path = os.path.join("/dev/shm", name)
        for pid in os.listdir("/proc"):
            if not pid.isdigit():
                continue
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if b"--tiny" in words or b"bench" in words or b"--bench" in words:
                return False
        return os.path.exists(path)

    def refused(self, status, *names, arguments=(), first="bench", **environment):
        """Ends with `status` and one line that has all `names`; nothing else happened."""
        code, output, errors = self.bench(*arguments, first=first, **environment)
        self.assertEqual(code, status, output + errors)
        self.assertEqual(len(errors.splitlines()), 1, errors)
        self.assertTrue(errors.startswith("uring-rawlog: "), errors)
        for name in names:
            self.assertIn(name, errors)
        self.nothing_is_left()
        return output, errors

    def result(self, *workloads, extra=()):
        """A run of these workloads: what it wrote, and said."""
        chosen = [word for name in workloads for word in ("--workload", name)]
        code, output, errors = self.bench("--tiny", *chosen, "--output", self.output, *extra)
        self.assertEqual((code, errors), (0, ""), output)
        with open(self.output, encoding="utf-8") as file:
            return json.load(file), output


class Results(Bench):
    def check_cost(self, cost, unit):
        self.assertEqual(set(cost), COST)
        self.assertGreater(cost["cpu_ns"], 0)
        self.assertGreater(cost["per_second"], 0)
        if unit == "byte":
            self.assertIsNone(cost["p50_us"])
            self.assertIsNone(cost["p99_us"])
        else:
            self.assertGreater(cost["p50_us"], 0)
            self.assertGreaterEqual(cost["p99_us"], cost["p50_us"])

    def test_every_workload(self):
        result, output = self.result(*WORKLOADS)
        self.nothing_is_left()
        self.assertEqual(result["version"], 1)
        self.assertEqual([figure["name"] for figure in result["workloads"]], list(TIMED))
        self.assertEqual(result["peers"], [])
        machine = result["machine"]
        self.assertEqual(machine["cores"], os.cpu_count())
        self.assertEqual((machine["kernel"], machine["architecture"]), (os.uname().release, os.uname().machine))
        self.assertGreater(machine["memory_bytes"], 0)
        for name in ("cpu", "file_system"):
            self.assertTrue(machine[name])
        self.assertTrue(result["command"].startswith("uring-rawlog bench --tiny"))
        self.assertRegex(result["date"], r"^\d{4}-\d\d-\d\d$")
        for figure in result["workloads"]:
            with self.subTest(workload=figure["name"]):
                self.assertEqual(figure["unit"], UNITS[figure["name"]])
                self.check_cost(figure["plain"], figure["unit"])
                self.check_cost(figure["recorded"], figure["unit"])
                low, high = figure["spread"]
                self.assertLessEqual(low, figure["ratio"])
                self.assertLessEqual(figure["ratio"], high)
                # One repetition: the ratio is of these very two, and so is the difference.
                ratio = figure["recorded"]["cpu_ns"] / figure["plain"]["cpu_ns"]
                self.assertAlmostEqual(figure["ratio"], ratio, places=6)
                difference = figure["recorded"]["cpu_ns"] - figure["plain"]["cpu_ns"]
                self.assertAlmostEqual(figure["overhead_ns"] / difference, 1, places=6)
                self.assertGreater(figure["floor_ns"], 0)
                self.assertRegex(figure["checksum"], r"^[0-9a-f]+$")
                for variant in figure.get("variants", []):
                    self.check_cost({name: variant[name] for name in COST}, figure["unit"])
                    self.assertGreater(variant["ratio"], 0)
                # The variants are other ways of ours, and each is there once.
                names = [variant["name"] for variant in figure.get("variants", [])]
                self.assertEqual(len(names), len(set(names)))
                if figure["unit"] == "byte" and figure["name"] != "tls-bulk":
                    self.assertIn("recorded -t", names)
        self.assertEqual({row["name"] for row in result["idle"]}, {"plain", "recorded", "recorded --protocol imap"})
        sizes = result["message_sizes"]
        self.assertEqual(sorted({row["bytes"] for row in sizes}), [row["bytes"] for row in sizes])
        for row in sizes:
            self.assertAlmostEqual(row["ratio"], row["recorded_cpu_ns"] / row["plain_cpu_ns"], places=6)
            self.assertGreater(row["floor_ns"], 0)

        # The table: each workload has its header, and each row has its cost, rate and ratio.
        lines = output.splitlines()
        for name in TIMED:
            header = [place for place, line in enumerate(lines) if re.match(rf"{name} +CPU a {UNITS[name]} ", line)]
            self.assertEqual(len(header), 1, output)
            rows = lines[header[0] + 1:header[0] + 3]
            self.assertRegex(rows[0], r"^plain relaying +\d+\.\d+ (ns|µs) +1\.00 +\d+( MiB)?/s")
            self.assertRegex(rows[1], r"^recorded +\d+\.\d+ (ns|µs) +\d+\.\d\d +\d+( MiB)?/s")
        for row in sizes:
            self.assertRegex(output, rf"(?m)^{row['bytes']} bytes +\d+\.\d+ µs +\d+\.\d+ µs +\d+\.\d\d ")
        self.assertRegex(output, r"(?m)^idle +private memory a session$")
        for line in lines:
            self.assertEqual(line, line.rstrip())
            if self.output not in line:
                self.assertNotRegex(line, r"nan|inf\b|\x1b|\r|[a-z]_[a-z]")
        self.assertIn(f"written to '{self.output}'", output)

    def test_the_same_bytes_every_time(self):
        # The load is the same, so its checksum is; no two workloads have the same.
        first, _ = self.result("churn", "bulk")
        second, _ = self.result("bulk", "churn")
        # They run in the order in which they were asked for.
        self.assertEqual([figure["name"] for figure in first["workloads"]], ["churn", "bulk"])
        sums = {figure["name"]: figure["checksum"] for figure in first["workloads"]}
        self.assertEqual(sums, {figure["name"]: figure["checksum"] for figure in second["workloads"]})
        self.assertEqual(len(set(sums.values())), 2)

    def test_both_spellings(self):
        for first in ("bench", "--bench"):
            with self.subTest(first=first):
                code, output, errors = self.bench("--tiny", "--workload", "churn", first=first)
                self.assertEqual((code, errors), (0, ""), output)
                self.assertRegex(output, r"(?m)^churn +CPU a session")
                self.nothing_is_left()

    def test_directory(self):
        there = os.path.join(self.base, "there")
        os.mkdir(there)
        result, _ = self.result("churn", extra=("--dir", there))
        self.assertEqual(os.listdir(there), [])
        self.nothing_is_left()
        if stat.S_ISDIR(os.stat("/dev/shm").st_mode) and os.access("/dev/shm", os.W_OK):
            with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
                result, _ = self.result("churn", extra=("--dir", memory))
                self.assertEqual(os.listdir(memory), [])
            self.assertEqual(result["machine"]["file_system"], self.mounted("/dev/shm"))

    @staticmethod
    def mounted(path):
        """The type of the file system that is mounted there."""
        kind = ""
        with open("/proc/self/mounts", encoding="utf-8") as file:
            for line in file:
                words = line.split()
                if words[1] == path:
                    kind = words[2]
        return kind

    def test_help(self):
        for arguments in (("bench", "--help"), ("--bench", "--help")):
            code, output, errors = run(*arguments)
            self.assertEqual((code, errors), (0, ""))
            for option in ("--quick", "--workload", "--peers", "--output", "--baseline", "--dir"):
                self.assertIn(option, output)
            self.assertNotIn("--tiny", output)
            for name in WORKLOADS:
                self.assertIn(name, output)


class Postlogin(Bench):
    """The drop-in, and beside it Dovecot's where that is installed."""

    def test_what_a_session_costs(self):
        peers = ["--peers"] if os.access("/usr/lib/dovecot/rawlog", os.X_OK) else []
        code, output, errors = self.bench("--tiny", "--workload", "postlogin", *peers, "--output", self.output)
        self.assertEqual((code, errors), (0, ""))
        with open(self.output, encoding="utf-8") as file:
            result = json.load(file)
        rows = result["postlogin"]
        self.assertEqual([row["name"] for row in rows], ["rawlog", "Dovecot's rawlog"] if peers else ["rawlog"])
        for row in rows:
            self.assertLessEqual(COST | {"version", "configuration", "private_bytes", "pss_bytes"}, set(row))
            self.assertGreater(row["private_bytes"], 0)
            self.assertIn(row["name"], output)
        # Where it was built says nothing to whoever reads the result.
        self.assertTrue(rows[0]["configuration"].startswith("HOME=DIR rawlog -t "), rows[0]["configuration"])
        self.nothing_is_left()


class Baselines(Bench):
    def write(self, result, name="baseline.json"):
        path = os.path.join(self.base, name)
        with open(path, "w", encoding="utf-8") as file:
            if isinstance(result, str):
                file.write(result)
            else:
                json.dump(result, file)
        return path

    def with_ratios(self, result, factor):
        """A baseline in which everything that is compared was `factor` times what it is here."""
        changed = json.loads(json.dumps(result))
        for figure in changed["workloads"]:
            for name in ("ratio", "p99_ratio"):
                if figure.get(name):
                    figure[name] *= factor
            for variant in figure.get("variants", []):
                variant["ratio"] *= factor
        return changed

    def test_better_worse_and_its_own(self):
        result, _ = self.result("bulk", "churn")
        # Much worse was allowed before: nothing is worse now.
        better = self.write(self.with_ratios(result, 1000))
        code, output, errors = self.bench("--tiny", "--workload", "bulk", "--baseline", better)
        self.assertEqual((code, errors), (0, ""), output)
        self.assertIn(better, output)

        worse = self.write(self.with_ratios(result, 0.001))
        output, errors = self.refused(
            1, "bulk: recorded over plain is ", "bulk: recorded -t over plain is ",
            arguments=("--tiny", "--workload", "bulk", "--baseline", worse))
        # The table is there nevertheless; and what did not run is not compared.
        self.assertRegex(output, r"(?m)^bulk +CPU a byte")
        self.assertNotIn("churn", errors)
        self.assertRegex(errors, r"more than \d+ % worse")

        # Its own result, at another moment of a machine that may be busy.
        own = self.write(result)
        code, output, errors = self.bench("--tiny", "--workload", "churn", "--baseline", own)
        if code == 0:
            self.assertEqual(errors, "")
        else:
            self.assertEqual(code, 1, output + errors)
            self.assertRegex(errors, r"^uring-rawlog: churn: .* is \S+, was \S+: more than \d+ % worse")

    def test_result_is_written_though_it_is_worse(self):
        result, _ = self.result("churn")
        os.unlink(self.output)
        worse = self.write(self.with_ratios(result, 0.001))
        self.refused(1, "churn: recorded over plain",
                     arguments=("--tiny", "--workload", "churn", "--baseline", worse, "--output", self.output))
        with open(self.output, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["version"], 1)

    def test_one_file_as_both(self):
        # The old result is read before the new one takes its place.
        self.result("churn")
        code, output, errors = self.bench("--tiny", "--workload", "churn", "--baseline", self.output,
                                          "--output", self.output)
        self.assertIn(code, (0, 1), output + errors)
        with open(self.output, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["version"], 1)

    def test_what_is_no_baseline(self):
        result, _ = self.result("churn")
        cases = [("not JSON at all", ()), ("", ()), ("[]", ()), ("{}", ()), ('{"version":"1"}', ()),
                 ('{"version":1}', ()), (json.dumps(result)[:-20], ()), ("\0\1\2", ())]
        for version in (0, 2, 99):
            cases.append(({**result, "version": version}, (f"version {version}",)))
        # A later version may look quite different.
        cases.append(('{"version":7}', ("version 7",)))
        for name, field, value in (("processor", "cpu", "Another"), ("cores", "cores", 4711),
                                   ("architecture", "architecture", "vax"), ("file system", "file_system", "minix"),
                                   ("kernel", "kernel", "2.6")):
            cases.append(({**result, "machine": {**result["machine"], field: value}}, (f"({name}: ", str(value))))
        for content, names in cases:
            with self.subTest(content=str(content)[:60], names=names):
                path = self.write(content)
                output, _ = self.refused(65, path, *names,
                                         arguments=("--tiny", "--workload", "churn", "--baseline", path))
                # It is said before anything was measured.
                self.assertEqual(output, "")

    def test_a_patch_of_the_kernel_is_no_other_machine(self):
        result, _ = self.result("churn")
        result["machine"]["kernel"] = ".".join(result["machine"]["kernel"].split(".")[:2]) + ".9999-other"
        path = self.write(self.with_ratios(result, 1000))
        code, output, errors = self.bench("--tiny", "--workload", "churn", "--baseline", path)
        self.assertEqual((code, errors), (0, ""), output)

    def test_missing(self):
        path = os.path.join(self.base, "missing.json")
        output, _ = self.refused(66, path, "--baseline", arguments=("--tiny", "--baseline", path))
        self.assertEqual(output, "")


class Usage(Bench):
    def usage(self, *arguments, names=()):
        output, errors = self.refused(64, *names, arguments=arguments)
        self.assertEqual(output, "")
        self.assertTrue(errors.rstrip().endswith("see 'uring-rawlog bench --help'"), errors)

    def test_unknown_workload(self):
        for name in ("bulk17", "", "BULK", "bulk,mail", "all"):
            with self.subTest(name=name):
                self.usage("--tiny", "--workload", name, names=("--workload", f"'{name}'"))
        self.usage("--tiny", "--workload", "a\x1b[31m\u202eb", names=("a\\x1b[31m\\x202eb",))

    def test_repeated(self):
        for option in (("--output", "a.json"), ("--baseline", "a.json"), ("--dir", "/tmp"), ("--quick",), ("--peers",)):
            with self.subTest(option=option):
                self.usage("--tiny", *option, *option, names=(option[0], "twice"))
        self.usage("--tiny", "--workload", "bulk", "--workload", "bulk", names=("'bulk'", "twice"))

    def test_unknown_option(self):
        for arguments in (("--frobnicate",), ("operand",), ("--listen", "127.0.0.1:0"), ("--workload",), ("--output",)):
            with self.subTest(arguments=arguments):
                self.usage("--tiny", *arguments, names=(arguments[0],))

    def test_directory_that_is_not_writable(self):
        paths = [os.path.join(self.base, "missing"), "/proc", "/proc/self/fdinfo", "/sys", os.path.join(self.base, "f")]
        with open(paths[-1], "w", encoding="utf-8"):
            pass
        for path in paths:
            with self.subTest(path=path):
                code, output, errors = self.bench("--tiny", "--workload", "churn", "--dir", path)
                self.assertIn(code, (73, 77), errors)
                self.assertEqual((output, len(errors.splitlines())), ("", 1), errors)
                self.assertIn(path, errors)
                self.nothing_is_left()

    @unittest.skipIf(ROOT, "root may write everywhere")
    def test_directory_of_somebody_else(self):
        self.refused(77, "/root", arguments=("--tiny", "--workload", "churn", "--dir", "/"))

    def test_output_that_cannot_be_written(self):
        # Nothing is measured for it: there is not one line of progress.
        for path in (os.path.join(self.base, "missing", "result.json"), self.base, "/proc/result.json"):
            with self.subTest(path=path):
                output, _ = self.refused(73, path, "--output",
                                         arguments=("--tiny", "--workload", "churn", "--output", path))
                self.assertEqual(output, "")


class Ends(Bench):
    def start(self, *arguments, **keywords):
        process = subprocess.Popen([PROGRAM, "bench", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=self.environment(), **keywords)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process

    def relays(self):
        """The relays that a run has started."""
        found = []
        for pid in processes(self.mark.encode()):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if words[1:2] == [b"relay"]:
                found.append(pid)
        return found

    def interrupted(self, number, to_group):
        # Long enough that the signal comes in the middle, whatever the machine.
        process = self.start("--quick", "--workload", "pingpong", start_new_session=True)
        wait_until(lambda: self.relays() or process.poll() is not None, what="a relay of the run")
        self.assertIsNone(process.poll())
        if to_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        output, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, output + errors)
        self.assertEqual(errors, b"uring-rawlog: interrupted\n")
        self.nothing_is_left()

    def test_interrupted(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number):
                self.interrupted(number, to_group=False)

    def test_interrupted_from_a_terminal(self):
        # The signal meets every process of the run, in any order: that the load died too is no other end.
        for _ in range(3):
            self.interrupted(signal.SIGINT, to_group=True)

    def test_killed(self):
        # Its processes end with it; directories are left, as nobody could remove them.
        process = self.start("--quick", "--workload", "pingpong", start_new_session=True)
        wait_until(lambda: self.relays() or process.poll() is not None, what="a relay of the run")
        process.kill()
        process.wait(60)
        wait_until(lambda: not processes(self.mark.encode()), what="every process of the run to end")
        for name in self.memory_directories() - self.in_memory:
            if self.is_ours(name):
                shutil.rmtree(os.path.join("/dev/shm", name))

    def test_output_that_nobody_reads(self):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = subprocess.run([PROGRAM, "bench", "--tiny", "--workload", "churn", "--output", self.output],
                                  stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.PIPE, timeout=120,
                                  env=self.environment(), check=False)
        finally:
            os.close(writing)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertTrue(os.path.exists(self.output))
        self.nothing_is_left()

    def test_the_load_alone_is_no_command(self):
        for arguments in ((), ("serve",), ("serve", "nonsense"), ("drive",), ("hold",), ("frobnicate", "bulk")):
            with self.subTest(arguments=arguments):
                code, output, errors = run("bench-load", *arguments)
                self.assertEqual((code, output, len(errors.splitlines())), (64, "", 1), errors)


class Peers(Bench):
    def installed(self, path=None):
        search = (os.environ.get("PATH", "") if path is None else path) + ":/usr/sbin:/usr/local/sbin"
        found = {name for name, program in (("nginx", "nginx"), ("HAProxy", "haproxy"), ("socat", "socat"))
                 if shutil.which(program, path=search)}
        if os.access("/usr/lib/dovecot/rawlog", os.X_OK):
            found.add("Dovecot's rawlog")
        return found

    def check_said(self, output, installed):
        """Each peer is either said to be there, with its version, or said to be missing; once."""
        for full in PEERS:
            name = "nginx" if full.startswith("nginx") else full
            there = re.findall(rf"(?m)^peer: {re.escape(name)} \(.+\)$", output)
            missing = re.findall(rf"(?m)^no row for {re.escape(full)}: .*not installed$", output)
            expected = (1, 0) if name in installed else (0, 1)
            self.assertEqual((len(there), len(missing)), expected, f"{name}\n{output}")

    def test_rows(self):
        installed = self.installed()
        result, output = self.result("churn", "bulk", extra=("--peers",))
        self.nothing_is_left()
        self.check_said(output, installed)
        rows = result["peers"]
        self.assertEqual({row["workload"] for row in rows}, {"churn", "bulk"} if installed else set())
        refused = set(re.findall(r"(?m)^\S+: no row for (.+?): ", output))
        for workload in ("churn", "bulk"):
            for name in installed:
                mine = [row for row in rows if row["workload"] == workload and row["name"].startswith(name)]
                if not any(other.startswith(name) for other in refused):
                    self.assertTrue(mine, f"{name}\n{output}")
                for row in mine:
                    with self.subTest(workload=workload, name=row["name"]):
                        self.assertTrue(row["version"])
                        self.assertRegex(row["configuration"], r"PORT|SERVER")
                        for field in ("cpu_ns", "per_second", "plain_ratio", "recorded_ratio"):
                            self.assertGreater(row[field], 0)
                        self.assertEqual(row["unit"], UNITS[workload])
                        self.assertRegex(output, rf"(?m)^{re.escape(row['name'])} +\d+\.\d+ (ns|µs)")
        names = [(row["workload"], row["name"]) for row in rows]
        self.assertEqual(len(names), len(set(names)))

    def test_missing_in_the_path(self):
        code, output, errors = self.bench("--tiny", "--peers", "--workload", "pingpong", "--output", self.output,
                                          PATH="/nonexistent")
        self.assertEqual((code, errors), (0, ""), output)
        installed = self.installed("/nonexistent")
        self.check_said(output, installed)
        with open(self.output, encoding="utf-8") as file:
            names = {row["name"].split(",")[0] for row in json.load(file)["peers"]}
        # None is made up.
        self.assertLessEqual(names, installed)
        self.nothing_is_left()

    @unittest.skipUnless(ROOT and shutil.which("unshare"), "needs a mount namespace of its own")
    def test_none_is_installed(self):
        empty = os.path.join(self.base, "empty")
        os.mkdir(empty)
        hidden = [path for path in ("/usr/sbin", "/usr/local/sbin", "/usr/lib/dovecot") if os.path.isdir(path)]
        mounts = " && ".join(f"mount --bind '{empty}' {path}" for path in hidden)
        script = f'{mounts} && export PATH=/nonexistent && exec "$@"'
        if subprocess.run(["unshare", "--mount", "sh", "-c", f"{mounts}"], capture_output=True, check=False).returncode:
            self.skipTest("mounts are not allowed here")
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", PROGRAM, "bench", "--tiny", "--peers",
                               "--workload", "churn", "--output", self.output], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120, env=self.environment(), check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.check_said(done.stdout, set())
        with open(self.output, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["peers"], [])
        self.nothing_is_left()

    def fake(self, name, script):
        directory = os.path.join(self.base, "bin")
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(path, 0o755)
        return directory + ":" + os.environ.get("PATH", "/usr/bin:/bin")

    def test_a_peer_that_refuses_its_configuration(self):
        path = self.fake("nginx", 'if [ "$1" = -v ]; then echo "nginx version: fake/1" >&2; exit 0; fi\n'
                                  'echo "first line" >&2\necho "nginx: [emerg] \033[31mno such directive" >&2\nexit 1\n')
        code, output, errors = self.bench("--tiny", "--peers", "--workload", "churn", "--workload", "pingpong",
                                          "--output", self.output, PATH=path)
        self.assertEqual((code, errors), (0, ""), output)
        self.assertIn("peer: nginx (nginx version: fake/1)", output)
        # It is said once for each workload, with the reason that it gave.
        said = [line for line in output.splitlines() if "no row for nginx" in line]
        self.assertEqual([line.split(":")[0] for line in said], ["churn", "pingpong"], output)
        self.assertIn("no such directive", said[0])
        # What somebody else's program says does not reach the terminal as it is.
        self.assertNotIn("\x1b", output)
        with open(self.output, encoding="utf-8") as file:
            result = json.load(file)
        self.assertEqual([row for row in result["peers"] if row["name"] == "nginx"], [])
        self.assertEqual([figure["name"] for figure in result["workloads"]], ["churn", "pingpong"])
        self.nothing_is_left()

    def test_a_peer_that_does_not_say_its_version(self):
        path = self.fake("nginx", "exit 1\n")
        code, output, errors = self.bench("--tiny", "--peers", "--workload", "churn", PATH=path)
        self.assertEqual((code, errors), (0, ""), output)
        self.assertEqual(len([line for line in output.splitlines() if line.startswith("no row for nginx")]), 1, output)
        self.nothing_is_left()


if __name__ == "__main__":
    unittest.main()
