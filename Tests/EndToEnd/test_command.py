"""The command line: what it says and how it ends, above all for input that is wrong."""

import grp
import os
import pwd
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import unittest

from peers import EchoServer, EndToEnd, connect, free_port, receive_exactly
from refusal import skip_without_filters, without_io_uring
from relay import PROGRAM, run, wait_until

OPTIONS = ("--listen", "--connect", "--dir", "--timestamps", "--boundaries", "--ip-in-name", "--filter", "--only",
           "--flush", "--log-memory", "--log-full", "--log-wait", "--log-error", "--max-sessions", "--idle-timeout",
           "--connect-timeout", "--max-recording", "--drain", "--user", "--group", "--index", "--relay", "--layout",
           "--protocol", "--pre-login", "--secrets", "--leg", "--proxy-from", "--send-proxy", "--handshake-timeout",
           "--tls", "--tls-cert", "--tls-key", "--tls-key-password-file", "--tls-min-version", "--connect-tls",
           "--sandbox", "--engine", "--max-sessions-per-ip", "--max-rate-per-ip", "--connect-ca", "--connect-name", "--connect-insecure")
SHORT_OPTIONS = ("-t", "-b", "-I", "-f")
SYSEXITS = (64, 65, 66, 69, 71, 73, 74, 77, 78)
ROOT = os.geteuid() == 0
NOBODY = 65534


class Command(unittest.TestCase):
    def setUp(self):
        self.base = tempfile.mkdtemp(prefix="rawlog-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.base)
        os.chmod(self.base, 0o755)
        self.directory = os.path.join(self.base, "recordings")
        os.mkdir(self.directory, 0o755)

    def listing(self):
        """Everything below the test's directory, to see that a refused start creates nothing."""
        return sorted((path, tuple(sorted(files))) for path, _, files in os.walk(self.base))

    def arguments(self, listen="127.0.0.1:0", connect_to="127.0.0.1:1", directory=None, more=()):
        return ["--listen", listen, "--connect", connect_to, "--dir", directory or self.directory, *more]

    def refused(self, arguments, codes, *names, **keywords):
        """Runs the program, which must refuse: one line which has all `names`, and nothing created."""
        if isinstance(codes, int):
            codes = (codes,)
        before = self.listing()
        try:
            code, output, errors = run(*arguments, timeout=30, **keywords)
        except subprocess.TimeoutExpired:
            self.fail(f"accepted instead of refused: {arguments}")
        self.assertIn(code, codes, errors)
        self.assertEqual(output, "")
        self.assertEqual(len(errors.splitlines()), 1, errors)
        self.assertTrue(errors.startswith("uring-rawlog: "), errors)
        self.assertTrue(errors.endswith("\n"), errors)
        for name in names:
            self.assertIn(name, errors)
        self.assertEqual(self.listing(), before)
        return errors

    def usage(self, arguments, *names, **keywords):
        errors = self.refused(arguments, 64, *names, **keywords)
        # "ending in a pointer to --help", whatever quotes or stop come behind it.
        self.assertIn("--help", errors.rstrip()[-30:])
        return errors


class Help(Command):
    def test_help_names_every_option(self):
        # Also without the sub-command, which is the default: messages point to either.
        for arguments in (("--help",), ("relay", "--help")):
            with self.subTest(arguments=arguments):
                code, output, errors = run(*arguments)
                self.assertEqual((code, errors), (0, ""))
                words = re.split(r"[\s,=\[\]/]+", output)
                for option in OPTIONS + SHORT_OPTIONS:
                    self.assertIn(option, words)

    def test_the_manual_knows_all_options(self):
        path = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "man", "uring-rawlog.1")
        with open(path, encoding="utf-8") as file:
            manual = file.read()
        options = re.findall(r"^  (?:-\w, )?--([a-z-]+)", run("relay", "--help")[1], re.MULTILINE)
        self.assertGreater(len(options), 30)
        lacking = [option for option in options if f"Fl -{option}" not in manual]
        self.assertEqual(lacking, [])

    def test_help_names_the_sub_commands(self):
        _, output, _ = run("--help")
        for word in ("relay", "check", "--version"):
            self.assertIn(word, output)

    def test_help_of_check(self):
        code, output, errors = run("check", "--help")
        self.assertEqual((code, errors), (0, ""))
        self.assertIn("check", output)

    def test_version(self):
        code, output, errors = run("--version")
        self.assertEqual((code, errors), (0, ""))
        self.assertRegex(output, r"\d+\.\d+")
        self.assertEqual(len(output.splitlines()), 1)

    def test_help_that_nobody_reads(self):
        # As with `uring-rawlog --help | true`: no crash, whatever the exit code.
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = subprocess.run([PROGRAM, "--help"], stdin=subprocess.DEVNULL, stdout=writing,
                                  stderr=subprocess.PIPE, timeout=30)
        finally:
            os.close(writing)
        self.assertNotIn(done.returncode, (-4, -5, -6, -7, -11))


class SubCommands(EndToEnd):
    def test_relay_is_the_default_and_can_be_named(self):
        server = self.serve(EchoServer())
        with tempfile.TemporaryDirectory() as directory:
            for first in ((), ("relay",)):
                with self.subTest(first=first):
                    process = subprocess.Popen(
                        [PROGRAM, *first, "--listen", "127.0.0.1:0", "--connect", server.address, "--dir", directory],
                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                    try:
                        for line in process.stderr:
                            if line.startswith("uring-rawlog: listening on "):
                                break
                        self.exchange(line.split()[-1])
                        process.terminate()
                        self.assertEqual(process.wait(30), 0)
                    finally:
                        process.kill()
                        process.wait()
                        process.stderr.close()

    def test_order_of_options_does_not_matter(self):
        server = self.serve(EchoServer())
        relay = self.start(server, "-t", "--idle-timeout=1h", "--max-recording", "1G", "--flush=20", "-f", "in")
        self.exchange(relay.address)
        self.assertEqual(relay.terminate(), 0)


class Check(Command):
    def test_this_machine(self):
        before = self.listing()
        path = os.path.join(self.base, "in.sock")
        code, output, errors = run("check", *self.arguments(listen=f"unix:{path}"))
        self.assertEqual(code, 0, output + errors)
        lines = (output + errors).splitlines()
        self.assertGreaterEqual(len(lines), 4)
        self.assertNotIn("", [line.strip() for line in lines])
        text = (output + errors).lower()
        for subject in ("kernel", "io_uring", self.directory):
            self.assertIn(subject, text)
        self.assertRegex(text, "descriptor|open files|nofile")
        # It looks, and leaves nothing behind.
        self.assertEqual(self.listing(), before)

    def test_missing_directory(self):
        code, output, errors = run("check", *self.arguments(directory=self.base + "/missing"))
        self.assertEqual(code, 69)
        self.assertIn(self.base + "/missing", output + errors)
        self.assertFalse(os.path.exists(self.base + "/missing"))

    def test_wrong_option(self):
        self.usage(["check", "--frobnicate"], "--frobnicate")


class Usage(Command):
    def test_what_is_required(self):
        full = self.arguments()
        for position, name in ((0, "--listen"), (2, "--connect"), (4, "--dir")):
            with self.subTest(missing=name):
                self.usage(full[:position] + full[position + 2:], name)
        self.usage([])
        self.usage(["relay"])

    def test_unknown(self):
        for word in ("--frobnicate", "--frobnicate=1", "-z", "-tz", "--list"):
            with self.subTest(word=word):
                self.usage(self.arguments(more=[word]), "z" if word == "-tz" else word.split("=")[0])
        for word in ("operand", "check"):
            with self.subTest(word=word):
                self.usage(self.arguments(more=[word]), word)
        self.usage(["frobnicate"], "frobnicate")

    def test_missing_values(self):
        for option in OPTIONS:
            if option in ("--timestamps", "--boundaries", "--ip-in-name"):
                continue
            with self.subTest(option=option):
                self.usage(self.arguments(more=[option]), option)
        self.usage(self.arguments(more=["-f"]), "-f")

    def test_values_for_flags(self):
        for word in ("--timestamps=yes", "--boundaries=1"):
            with self.subTest(word=word):
                self.usage(self.arguments(more=[word]), word.split("=")[0])

    def test_listen(self):
        for value in ("nonsense", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:65536", "127.0.0.1:-1",
                      "127.0.0.1:abc", "127.0.0.1:0x19", "127.0.0.1:2 5", "127.0.0.1:+25", "[::1", "[::1]", "[::1]:",
                      "[::1]25", "[127.0.0.1]:25", "[zz::1]:25", "unix:", "fd:", "fd:abc", "fd:-1",
                      "fd:99999999999999999999", ""):
            with self.subTest(value=value):
                self.usage(self.arguments(listen=value), value)

    def test_connect(self):
        for value in ("nonsense", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:imap4711", "[::1",
                      "[::1]", "unix:", "systemd", ""):
            with self.subTest(value=value):
                self.usage(self.arguments(connect_to=value), value)

    def test_name_that_does_not_resolve(self):
        # A label of more than 63 octets never leaves this machine: the resolver itself refuses it.
        name = "a" * 64 + ".invalid"
        self.refused(self.arguments(connect_to=name + ":25"), SYSEXITS + (68,), name)
        self.refused(self.arguments(listen=name + ":25"), SYSEXITS + (68,), name)

    def test_only(self):
        for value in ("300.1.1.1", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0/8", "10.0.0.0/8/8", "::/129",
                      "2001:db8::g", "localhost", "10.0.0.0/abc", "/8", ""):
            with self.subTest(value=value):
                self.usage(self.arguments(more=["--only", value]), value)

    def test_only_with_host_bits_names_the_network(self):
        for value, network in (("10.1.2.3/8", "10.0.0.0/8"), ("192.0.2.130/25", "192.0.2.128/25"),
                               ("127.0.0.1/0", "0.0.0.0/0"), ("2001:db8::1/32", "2001:db8::/32"),
                               ("fe80::ff/121", "fe80::80/121")):
            with self.subTest(value=value):
                self.usage(self.arguments(more=["--only", value]), value, network)
        # The wrong one is named, not the first.
        self.usage(self.arguments(more=["--only", "10.0.0.0/8", "--only", "172.16.9.0/12"]),
                   "172.16.9.0/12", "172.16.0.0/12")

    def test_sizes(self):
        for option in ("--log-memory", "--max-recording"):
            for value in ("12X", "-5", "abc", "M", "1KB", "1 K", "0x10", "99999999999999999999", "9999999999999G", ""):
                with self.subTest(option=option, value=value):
                    self.usage(self.arguments(more=[f"{option}={value}"]), value)

    def test_durations(self):
        for option in ("--idle-timeout", "--connect-timeout", "--drain", "--log-wait"):
            for value in ("5", "5x", "s", "-1s", "5 s", "1h30", "99999999999999999999d", "5S", ""):
                with self.subTest(option=option, value=value):
                    self.usage(self.arguments(more=[f"{option}={value}"]), value)

    def test_flush_is_a_bare_number(self):
        for value in ("10ms", "1s", "-1", "abc", "1.5", "99999999999999999999", ""):
            with self.subTest(value=value):
                self.usage(self.arguments(more=[f"--flush={value}"]), value)

    def test_counts(self):
        for value in ("-1", "many", "1K5", "1.5", "99999999999999999999", ""):
            with self.subTest(value=value):
                self.usage(self.arguments(more=[f"--max-sessions={value}"]), value)
                self.usage(self.arguments(more=[f"--max-sessions-per-ip={value}"]), value)
        for value in ("", "10", "0/s", "1/h", "many/s"):
            with self.subTest(value=value):
                self.usage(self.arguments(more=[f"--max-rate-per-ip={value}"]), value)

    def test_choices(self):
        for option, values in (("--filter", ("both", "IN", "", "in,out")), ("--log-full", ("maybe", "")),
                               ("--log-error", ("ignore", "")), ("--relay", ("AUTO", "sendfile", "copy,splice", ""))):
            for value in values:
                with self.subTest(option=option, value=value):
                    self.usage(self.arguments(more=[f"{option}={value}"]), value)
        self.usage(self.arguments(more=["-fboth"]), "both")

    def test_templates(self):
        for name in ("%{bogus}", "%{}", "%{user}", "%{ip"):
            with self.subTest(name=name):
                self.usage(self.arguments(directory=f"{self.directory}/{name}"), name)

    def test_message_stays_one_line(self):
        # A value may hold anything; the message is one line of a log all the same.
        for value in ("10.0.0.0/8\nuring-rawlog: all is well", "\x1b[2J", "a\rb", "caf\udce9"):
            with self.subTest(value=value):
                errors = self.usage(self.arguments(more=["--only", value]))
                self.assertTrue(errors[:-1].isprintable() or "\ufffd" in errors, repr(errors))

    def test_long_value(self):
        self.usage(self.arguments(more=["--only", "1" * 100_000]))


class ContradictoryTLS(Command):
    """Options of TLS that say nothing, or two things, together."""

    def test_front(self):
        for more, name in (
                (["--tls-cert", "c.pem"], "--tls-key"), (["--tls-key", "k.pem"], "--tls-cert"),
                (["--tls", "implicit"], "--tls-cert"), (["--tls-key-password-file", "p"], "--tls-key"),
                (["--tls-cert", "c.pem", "--tls-key", "k.pem", "--tls", "late"], "late"),
                (["--tls-cert", "c.pem", "--tls-key", "k.pem", "--tls", "starttls"], "--protocol"),
                (["--tls-min-version", "1.3"], "--tls-min-version"), (["--tls-min-version", "1.1"], "1.1")):
            with self.subTest(more=more):
                self.usage(self.arguments(more=more), name)

    def test_back(self):
        for more, name in (
                (["--connect-tls", "on"], "'on'"), (["--connect-ca", "c.pem"], "--connect-tls"),
                (["--connect-name", "mail.example.org"], "--connect-tls"), (["--connect-insecure"], "--connect-tls"),
                (["--connect-tls", "implicit", "--connect-insecure", "--connect-ca", "c.pem"], "--connect-ca"),
                (["--connect-tls", "implicit", "--connect-name", "a b"], "a b"),
                (["--connect-tls", "starttls"], "--protocol")):
            with self.subTest(more=more):
                self.usage(self.arguments(more=more), name)


class Directories(Command):
    def test_missing(self):
        for directory in (self.base + "/missing", self.base + "/missing/%{ip}", self.base + "/missing/deeper"):
            with self.subTest(directory=directory):
                self.refused(self.arguments(directory=directory), 73, self.base + "/missing")

    def test_file(self):
        path = os.path.join(self.base, "file")
        with open(path, "wb"):
            pass
        self.refused(self.arguments(directory=path), 73, path)

    def test_index(self):
        path = os.path.join(self.base, "missing")
        self.refused(self.arguments(more=["--index", path]), 73, path)

    def as_nobody(self):
        """Keywords for `run` with which the program is not root."""
        if not ROOT:
            return {}
        probe = subprocess.run([PROGRAM, "--version"], capture_output=True, user=NOBODY, group=NOBODY,
                               extra_groups=[], check=False) if self._reachable() else None
        if probe is None or probe.returncode != 0:
            self.skipTest("another user cannot run the program where it lies")
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []}

    def _reachable(self):
        path = os.path.realpath(PROGRAM)
        while path != "/":
            if not os.stat(path).st_mode & stat.S_IXOTH:
                return False
            path = os.path.dirname(path)
        return True

    def test_not_writable(self):
        keywords = self.as_nobody()
        os.chmod(self.directory, 0o555)
        self.refused(self.arguments(), 77, self.directory, **keywords)

    def test_not_searchable(self):
        keywords = self.as_nobody()
        inner = os.path.join(self.directory, "inner")
        os.mkdir(inner, 0o777)
        os.chmod(self.directory, 0)
        self.addCleanup(os.chmod, self.directory, 0o755)
        before = os.listdir(self.base)
        code, _, errors = run(*self.arguments(directory=inner), **keywords)
        self.assertIn(code, (73, 77))
        self.assertEqual(len(errors.splitlines()), 1, errors)
        self.assertIn(inner, errors)
        self.assertEqual(os.listdir(self.base), before)

    def test_index_not_writable(self):
        keywords = self.as_nobody()
        os.chmod(self.directory, 0o777)
        index = os.path.join(self.base, "index")
        os.mkdir(index, 0o555)
        self.refused(self.arguments(more=["--index", index]), 77, index, **keywords)

    def test_user_without_root(self):
        keywords = self.as_nobody()
        os.chmod(self.directory, 0o777)
        self.refused(self.arguments(more=["--user", "nobody"]), 77, "--user", **keywords)

    def test_port_that_needs_root(self):
        keywords = self.as_nobody()
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            if int(file.read()) <= 1:
                self.skipTest("every port is free for everybody here")
        os.chmod(self.directory, 0o777)
        self.refused(self.arguments(listen="127.0.0.1:1"), 77, "127.0.0.1:1", **keywords)

    def test_socket_where_nothing_may_be_made(self):
        keywords = self.as_nobody()
        os.chmod(self.directory, 0o777)
        closed = os.path.join(self.base, "closed")
        os.mkdir(closed, 0o555)
        self.refused(self.arguments(listen=f"unix:{closed}/in.sock"), (73, 77), f"{closed}/in.sock", **keywords)


class Addresses(Command):
    def test_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            self.refused(self.arguments(listen=address), 69, address)

    def test_port_in_use_by_another_relay(self):
        # No SO_REUSEPORT: two relays would share the clients, and the directory would tell half of the story.
        port = free_port()
        first = subprocess.Popen([PROGRAM, *self.arguments(listen=f"127.0.0.1:{port}")], stdin=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)
        try:
            for line in first.stderr:
                if "listening on" in line:
                    break
            self.refused(self.arguments(listen=f"127.0.0.1:{port}"), 69, f"127.0.0.1:{port}")
        finally:
            first.kill()
            first.wait()
            first.stderr.close()

    def test_second_address_in_use_leaves_no_socket_of_the_first(self):
        path = os.path.join(self.base, "in.sock")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            self.refused(self.arguments(listen=f"unix:{path}", more=["--listen", address]), 69, address)
        self.assertFalse(os.path.lexists(path))

    def test_missing_directory_leaves_no_socket(self):
        path = os.path.join(self.base, "in.sock")
        self.refused(self.arguments(listen=f"unix:{path}", directory=self.base + "/missing"), 73, "missing")
        self.assertFalse(os.path.lexists(path))

    def test_same_address_twice(self):
        port = free_port()
        self.refused(self.arguments(listen=f"127.0.0.1:{port}", more=["--listen", f"127.0.0.1:{port}"]),
                     (64, 69), f"127.0.0.1:{port}")

    def test_address_of_another_machine(self):
        self.refused(self.arguments(listen="192.0.2.1:0"), SYSEXITS, "192.0.2.1")

    def test_directory_of_the_socket_is_missing(self):
        path = os.path.join(self.base, "missing", "in.sock")
        self.refused(self.arguments(listen=f"unix:{path}"), SYSEXITS, path)

    def test_socket_path_that_is_too_long(self):
        path = os.path.join(self.base, "x" * 120)
        self.refused(self.arguments(listen=f"unix:{path}"), SYSEXITS, "x" * 50)
        self.refused(self.arguments(connect_to=f"unix:{path}"), SYSEXITS, "x" * 50)

    def test_descriptor_that_is_not_there(self):
        self.refused(self.arguments(listen="fd:200"), SYSEXITS, "fd:200")

    def test_descriptor_that_is_no_listening_socket(self):
        with socket.socket() as sock, open(os.devnull, "rb") as null:
            for number in (sock.fileno(), null.fileno()):
                with self.subTest(number=number):
                    self.refused(self.arguments(listen=f"fd:{number}"), SYSEXITS, f"fd:{number}",
                                 pass_fds=(number,))

    def test_systemd_without_systemd(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")}
        self.refused(self.arguments(listen="systemd"), SYSEXITS, "systemd", env=environment)


@unittest.skipUnless(ROOT, "only root can become somebody else")
class Users(EndToEnd):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="rawlog-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory)
        try:
            self.nobody = pwd.getpwnam("nobody")
        except KeyError:
            self.skipTest("no user nobody here")

    def _identity(self, relay):
        identity = {}
        with open(f"/proc/{relay.pid}/status", encoding="ascii") as file:
            for line in file:
                name, _, value = line.partition(":")
                identity[name] = value.split()
        return identity

    def _session(self, relay, user, group):
        self.exchange(relay.address)
        record, = relay.wait_ends(1)
        self.assertEqual(record["recording"], "complete")
        for name in (record["id"] + ".in", record["id"] + ".out", "sessions.jsonl"):
            status = os.stat(os.path.join(self.directory, name))
            self.assertEqual((status.st_uid, status.st_gid, status.st_mode & 0o7777), (user, group, 0o600), name)
        self.assertEqual(relay.terminate(), 0)

    def test_user(self):
        os.chown(self.directory, self.nobody.pw_uid, self.nobody.pw_gid)
        relay = self.start(self.serve(EchoServer()), "--user", "nobody", directory=self.directory)
        identity = self._identity(relay)
        self.assertEqual(identity["Uid"], [str(self.nobody.pw_uid)] * 4)
        self.assertEqual(identity["Gid"], [str(self.nobody.pw_gid)] * 4)
        self.assertEqual({int(number) for number in identity["Groups"]},
                         set(os.getgrouplist("nobody", self.nobody.pw_gid)))
        self.assertEqual(identity["CapEff"], ["0" * 16])
        self._session(relay, self.nobody.pw_uid, self.nobody.pw_gid)

    def test_user_and_group(self):
        other = next(entry for entry in grp.getgrall() if entry.gr_gid not in (0, self.nobody.pw_gid))
        os.chown(self.directory, self.nobody.pw_uid, other.gr_gid)
        relay = self.start(self.serve(EchoServer()), "--user", "nobody", "--group", other.gr_name,
                           directory=self.directory)
        identity = self._identity(relay)
        self.assertEqual(identity["Uid"], [str(self.nobody.pw_uid)] * 4)
        self.assertEqual(identity["Gid"], [str(other.gr_gid)] * 4)
        self._session(relay, self.nobody.pw_uid, other.gr_gid)

    def test_low_port_is_bound_before_root_is_given_up(self):
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            if int(file.read()) <= 1:
                self.skipTest("every port is free for everybody here")
        port = None
        for candidate in range(900, 1000):
            with socket.socket() as sock:
                try:
                    sock.bind(("127.0.0.1", candidate))
                except OSError:
                    continue
            port = candidate
            break
        if port is None:
            self.skipTest("no low port is free")
        os.chown(self.directory, self.nobody.pw_uid, self.nobody.pw_gid)
        relay = self.start(self.serve(EchoServer()), "--user", "nobody", directory=self.directory,
                           listen=(f"127.0.0.1:{port}",))
        self._session(relay, self.nobody.pw_uid, self.nobody.pw_gid)

    def test_unix_socket_goes_at_the_end(self):
        # In a directory that belongs to the user; elsewhere the file outlives the permission to remove it.
        os.chown(self.directory, self.nobody.pw_uid, self.nobody.pw_gid)
        path = os.path.join(self.directory, "in.sock")
        relay = self.start(self.serve(EchoServer()), "--user", "nobody", directory=self.directory,
                           listen=(f"unix:{path}",))
        with connect(f"unix:{path}") as client:
            client.sendall(b"x")
            self.assertEqual(receive_exactly(client, 1), b"x")
        relay.wait_ends(1)
        self.assertEqual(relay.terminate(), 0)
        self.assertFalse(os.path.lexists(path))


@unittest.skipUnless(ROOT, "only root can become somebody else")
class WrongUsers(Command):
    def test_unknown(self):
        self.usage(self.arguments(more=["--user", "no-such-user"]), "no-such-user")
        self.usage(self.arguments(more=["--user", "nobody", "--group", "no-such-group"]), "no-such-group")

    def test_directory_is_not_that_users(self):
        # Root could write here; the files would be another's to make.
        self.refused(self.arguments(more=["--user", "nobody"]), 77, self.directory)


class IoUringRefused(Command):
    """With `--engine io_uring`; what the default does is in test_engine.py."""

    EPERM, ENOMEM, ENOSYS = 1, 12, 38

    def setUp(self):
        super().setUp()
        skip_without_filters(self)

    def arguments(self, *given, **named):
        return [*super().arguments(*given, **named), "--engine", "io_uring"]

    def test_seccomp(self):
        errors = self.refused(self.arguments(), 69, "io_uring", preexec_fn=without_io_uring(self.EPERM)).lower()
        self.assertIn("seccomp", errors)
        self.assertIn("container", errors)

    def test_old_kernel(self):
        errors = self.refused(self.arguments(), 69, "io_uring", preexec_fn=without_io_uring(self.ENOSYS)).lower()
        # A filter pretends to be an old kernel; a program that sees through it may name that instead.
        self.assertRegex(errors, "kernel|seccomp")

    def test_memory_lock_limit(self):
        self.refused(self.arguments(), 69, "io_uring", preexec_fn=without_io_uring(self.ENOMEM))

    def test_nothing_is_left_behind(self):
        path = os.path.join(self.base, "in.sock")
        self.refused(self.arguments(listen=f"unix:{path}"), 69, preexec_fn=without_io_uring(self.EPERM))
        self.assertFalse(os.path.lexists(path))

    def test_check_says_the_same(self):
        _, _, refusal = run(*self.arguments(), preexec_fn=without_io_uring(self.EPERM))
        code, output, errors = run("check", *self.arguments(), preexec_fn=without_io_uring(self.EPERM))
        self.assertEqual(code, 69)
        self.assertIn("seccomp", (output + errors).lower())
        # The remedy, which is what a reader is after, is spelt the same in both.
        self.assertIn("container", (output + errors).lower())
        self.assertIn("container", refusal.lower())

    def test_sysctl(self):
        path = "/proc/sys/kernel/io_uring_disabled"
        try:
            with open(path, "r+", encoding="ascii") as file:
                before = file.read().strip()
        except OSError as error:
            self.skipTest(f"the setting cannot be changed here: {error}")
        # For the whole machine, so only for the few milliseconds of two runs.
        try:
            try:
                with open(path, "w", encoding="ascii") as file:
                    file.write("2")
            except OSError as error:
                self.skipTest(f"the setting cannot be changed here: {error}")
            errors = self.refused(self.arguments(), 69)
            code, output, more = run("check", *self.arguments())
        finally:
            with open(path, "w", encoding="ascii") as file:
                file.write(before)
        self.assertIn("io_uring_disabled", errors)
        self.assertEqual(code, 69)
        self.assertIn("io_uring_disabled", output + more)


if __name__ == "__main__":
    unittest.main()
