"""What the program gives up when it has started: proved from outside, and from within by trying."""

import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from peers import EchoServer, EndToEnd, connect, receive_exactly
from relay import run, wait_until

ROOT = os.geteuid() == 0
NOBODY = 65534
# What the program needs itself.
POSSIBLE = ("ring-close", "write-recording", "remove-recording", "read-names", "resolve", "thread", "socket-inet",
            "socket-unix")
FORBIDDEN = ("ring-nop", "write-elsewhere", "read-elsewhere", "create-elsewhere", "ptrace", "fork", "socket-netlink",
             "socket-packet", "bind", "signal", "chmod", "root", "ring", "executable-memory", "execute")


def status(pid):
    """The process's status as proc_pid_status(5) has it, of its only thread."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def has_landlock():
    return "Landlock" in run("check", "--dir", "/tmp")[1].split("lacks")[0]


class Sandbox(EndToEnd):
    def setUp(self):
        # Outside of the directories that the program may read (/etc, /usr) and apart from each other.
        self.base = tempfile.mkdtemp(prefix="uring-rawlog-test-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, self.base)
        os.chmod(self.base, 0o755)
        self.server = EchoServer()
        self.addCleanup(self.server.close)

    def directory(self, name, owner=None):
        path = os.path.join(self.base, name, "recordings")
        os.makedirs(path)
        if owner is not None:
            os.chown(os.path.dirname(path), owner, owner)
            os.chown(path, owner, owner)
        return path

    def echo(self, relay, text=b"through"):
        with connect(relay.addresses[0]) as client:
            client.sendall(text)
            self.assertEqual(receive_exactly(client, len(text)), text)


class FromOutside(Sandbox):
    def given_up(self, relay, user=None):
        found = status(relay.pid)
        self.assertEqual(found["NoNewPrivs"], "1")
        self.assertEqual(found["Seccomp"], "2")
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(int(found[name], 16), 0, name)
        if ROOT:
            self.assertEqual(int(found["CapBnd"], 16) if user is None else 0, 0)
        if user is not None:
            self.assertEqual(found["Uid"].split(), [str(user)] * 4)
        # Files of a process that must not be dumped belong to root.
        self.assertEqual(os.stat(f"/proc/{relay.pid}/environ").st_uid, 0)

    def test_with_a_process_that_compresses(self):
        directory = self.directory("compressing")
        relay = self.start(self.server, "--layout", "pcapng", "--rotate-size", "64K", "--compress", "zstd",
                           directory=directory)
        self.given_up(relay)
        # Every thread of the relay, the one that has captures compressed too.
        tasks = os.listdir(f"/proc/{relay.pid}/task")
        self.assertGreater(len(tasks), 1)
        for task in tasks:
            self.assertEqual(status(f"{relay.pid}/task/{task}")["Seccomp"], "2", task)
        with open(f"/proc/{relay.pid}/task/{relay.pid}/children", encoding="ascii") as file:
            (compressor,) = map(int, file.read().split())
        found = status(compressor)
        self.assertEqual((found["NoNewPrivs"], int(found["CapEff"], 16)), ("1", 0))

        def compressed():
            return [name for name in os.listdir(directory) if name.endswith(".pcapng.zst")]

        def plain():
            return [name for name in os.listdir(directory) if name.endswith(".pcapng")]

        self.echo(relay, b"x" * 100_000)
        self.echo(relay)
        wait_until(compressed, what="a compressed capture")
        # Without it, everything else goes on, and one line says so.
        before = compressed()
        os.kill(compressor, signal.SIGKILL)
        self.echo(relay, b"x" * 100_000)
        self.echo(relay)
        wait_until(lambda: "the process that compresses captures is gone" in relay.stderr, what="the line")
        self.assertEqual((compressed(), len(plain()) > 0), (before, True))
        self.assertEqual(relay.terminate(), 0)
        self.assertEqual(relay.stderr.count("is gone"), 1)
        self.assertEqual({record["recording"] for record in relay.records("end")}, {"complete"})

    def test_as_who_starts_it(self):
        relay = self.start(self.server)
        self.given_up(relay)
        self.echo(relay)
        self.assertEqual(relay.terminate(), 0)

    @unittest.skipUnless(ROOT, "only root can become somebody else")
    def test_as_another_user(self):
        relay = self.start(self.server, "--user", "nobody", directory=self.directory("nobody", NOBODY))
        self.given_up(relay, NOBODY)
        self.echo(relay)
        (end,) = relay.wait_ends(1)
        self.assertEqual((end["recording"], relay.recording(end, "in")), ("complete", b"through"))
        self.assertEqual(relay.terminate(), 0)

    @unittest.skipUnless(ROOT, "only root may start as somebody else here")
    def test_without_any_privilege_to_begin_with(self):
        def become_nobody():
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)

        relay = self.start(self.server, directory=self.directory("nobody", NOBODY), preexec_fn=become_nobody)
        self.given_up(relay, NOBODY)
        self.echo(relay)
        self.assertEqual(relay.wait_ends(1)[0]["recording"], "complete")

    @unittest.skipUnless(ROOT, "only root can give files away")
    def test_root_without_the_rights_of_root(self):
        path = self.directory("nobody", NOBODY)
        os.chmod(path, 0o700)
        code, _, errors = run("--listen", "127.0.0.1:0", "--connect", "127.0.0.1:1", "--dir", path)
        self.assertEqual(code, 77)
        self.assertIn("--user", errors.splitlines()[-1])

    def test_off(self):
        relay = self.start(self.server, "--sandbox", "off")
        found = status(relay.pid)
        self.assertEqual(found["NoNewPrivs"], status(os.getpid())["NoNewPrivs"])
        self.assertEqual(found["Seccomp"], status(os.getpid())["Seccomp"])
        self.assertEqual(found["CapEff"], status(os.getpid())["CapEff"])
        self.echo(relay)

    def test_check_says_so(self):
        self.assertIn("filter of system calls", run("check")[1])
        self.assertIn("sandbox: off", run("check", "--sandbox", "off")[1])
        self.assertEqual(run("check", "--sandbox", "on")[0], 64)


class FromWithin(Sandbox):
    def probe(self, *options, directory, user=None):
        elsewhere = os.path.join(self.base, "elsewhere", "file")
        os.makedirs(os.path.dirname(elsewhere), mode=0o777, exist_ok=True)
        with open(elsewhere, "wb"):
            pass
        os.chmod(elsewhere, 0o666)
        os.chmod(os.path.dirname(elsewhere), 0o777)
        code, output, errors = run("probe-sandbox", "--elsewhere", elsewhere, "--listen", "127.0.0.1:0", "--connect",
                                   "127.0.0.1:1", "--dir", directory, *options)
        self.assertEqual((code, errors), (0, ""))
        return dict(line.split(": ", 1) for line in output.splitlines())

    def holds(self, results):
        self.assertEqual(sorted(results), sorted(POSSIBLE + FORBIDDEN))
        for name in POSSIBLE:
            self.assertEqual(results[name], "EBADF" if name == "ring-close" else "ok", name)
        for name in FORBIDDEN:
            if name.endswith("elsewhere") and not has_landlock():
                continue
            self.assertIn(results[name], ("EPERM", "EACCES"), name)

    def test_as_who_starts_it(self):
        self.holds(self.probe(directory=self.directory("mine")))

    @unittest.skipUnless(ROOT, "only root can become somebody else")
    def test_as_another_user(self):
        self.holds(self.probe("--user", "nobody", directory=self.directory("nobody", NOBODY)))

    def test_with_epoll(self):
        # It has no ring whose operations could be tried.
        results = self.probe("--engine", "epoll", directory=self.directory("mine"))
        self.assertNotIn("ring-close", results)
        self.holds({"ring-close": "EBADF", "ring-nop": "EACCES", **results})

    def test_the_probe_can_succeed(self):
        # Otherwise it would show nothing. It ends by becoming another program.
        results = self.probe("--sandbox", "off", directory=self.directory("mine"))
        for name in (*POSSIBLE, "ring-nop", "write-elsewhere", "read-elsewhere", "create-elsewhere", "ptrace", "fork",
                     "bind", "chmod", "ring", "executable-memory"):
            self.assertEqual(results[name], "EBADF" if name == "ring-close" else "ok", name)
        self.assertNotIn("execute", results)


class Afterwards(Sandbox):
    """What the program does late: it must find its way in the sandbox."""

    def layouts(self):
        return (("pair", ()), ("merged", ("--layout", "merged")), ("stamped", ("-t",)),
                ("redacted", ("--protocol", "imap")), ("template", ()), ("pcapng", ("--layout", "pcapng")),
                ("compressed", ("--layout", "pcapng", "--compress", "zstd")), ("kept", ("--keep-size", "1G")))

    def test_layouts_signals_and_a_directory_that_is_made_again(self):
        for name, options in self.layouts():
            with self.subTest(layout=name):
                directory = self.directory(name)
                option = directory + "/%{ip}" if name == "template" else None
                if option:
                    os.mkdir(directory + "/127.0.0.1")
                relay = self.start(self.server, *options, directory=directory, directory_option=option)
                self.echo(relay)
                self.assertEqual(relay.wait_ends(1)[0]["recording"], "complete")
                os.rename(relay.index_path, relay.index_path + ".1")
                relay.signal(signal.SIGHUP)
                wait_until(lambda: "resolved" in relay.stderr, what="names")
                self.echo(relay)
                self.assertEqual(relay.wait_ends(1)[0]["recording"], "complete")
                shutil.rmtree(directory)
                os.makedirs(directory + "/127.0.0.1" if option else directory)
                relay.signal(signal.SIGHUP)
                wait_until(lambda: relay.stderr.count("resolved") == 2, what="names")

                def recorded():
                    self.echo(relay)
                    return any(r["recording"] == "complete" for r in relay.records("end"))

                wait_until(recorded, what="a recording in the new directory")
                self.assertEqual(relay.terminate(), 0)
                self.assertNotIn("not permitted", relay.stderr)
                self.assertNotIn("Permission", relay.stderr)

    def test_unix_sockets_go_at_the_end(self):
        path = os.path.join(self.base, "socket")
        relay = self.start(self.server, listen=(f"unix:{path}",))
        self.echo(relay)
        self.assertEqual(relay.terminate(), 0)
        self.assertFalse(os.path.exists(path))

    def test_names_are_resolved_again(self):
        relay = self.start(f"localhost:{self.server.port}")
        for count in (1, 2):
            relay.signal(signal.SIGHUP)
            wait_until(lambda: relay.stderr.count("resolved 'localhost") == count, what="names")
        self.echo(relay)

    def test_bulk_that_is_spliced(self):
        relay = self.start(self.server, "--relay", "splice", "--only", "192.0.2.1")
        self.echo(relay, os.urandom(1 << 16))
        self.assertEqual(relay.terminate(), 0)

    @unittest.skipUnless(shutil.which("openssl"), "makes certificates")
    def test_certificates_behind_links_are_read_again(self):
        live, archive = os.path.join(self.base, "live"), os.path.join(self.base, "archive")
        os.mkdir(live)
        os.mkdir(archive)

        def make(number):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-days", "30", "-subj", "/CN=localhost", "-keyout", f"{archive}/key{number}.pem", "-out",
                            f"{archive}/cert{number}.pem"], check=True, capture_output=True, timeout=60)
            for name in ("key", "cert"):
                os.symlink(f"../archive/{name}{number}.pem", f"{live}/{name}.new")
                os.rename(f"{live}/{name}.new", f"{live}/{name}.pem")

        make(1)
        relay = self.start(self.server, "--tls-cert", f"{live}/cert.pem", "--tls-key", f"{live}/key.pem")
        make(2)
        relay.signal(signal.SIGHUP)
        wait_until(lambda: "were read again" in relay.stderr, what="certificates")
        self.assertEqual(relay.terminate(), 0)


if __name__ == "__main__":
    unittest.main()
