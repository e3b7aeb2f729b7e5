"""The drop-in beside Dovecot's own `rawlog`: the same scenario for both, and everything that can be seen is the same.

Only times and process ids are taken out, and stamps become numbers, so that which lines share one is compared as well.
What differs on purpose, the original's faults, is in test_rawlog_faults.py.
"""

import itertools
import os
import signal
import socket
import stat
import unittest

import rawlog
from rawlog import ORIGINAL, OURS, Home, Session, run, without_name, without_times


def seen(home, session_result=None, observed=None):
    """What a scenario left behind, as far as it must be the same for both."""
    files = {}
    if os.path.isdir(home.directory) and not os.path.islink(home.directory):
        for name, content in home.files().items():
            status = os.stat(os.path.join(home.directory, name))
            files[without_name(name)] = (without_times(content), oct(status.st_mode), status.st_uid, status.st_gid)
    status, errors = session_result or (None, [])
    return {
        "files": files,
        "status": status,
        "errors": [without_name(line).replace(home.base, "BASE") for line in errors],
        "observed": observed,
    }


@unittest.skipUnless(rawlog.why_no_original() is None, rawlog.why_no_original())
class Beside(unittest.TestCase):
    maxDiff = None

    def both(self, scenario):
        """Runs `scenario(program)` with both programs and compares what it returns."""
        original = scenario(ORIGINAL)
        ours = scenario(OURS)
        self.assertEqual(ours, original)
        return ours

    def session(self, steps, *flags, prepare=None, directory=True, **keywords):
        """Both programs in a session of their own with the same steps; what they left is the same."""
        def scenario(program):
            with Home(directory) as home:
                if prepare:
                    prepare(home)
                    home.give()
                settings = {name: value(home) if callable(value) and name != "before" else value
                            for name, value in keywords.items()}
                settings.setdefault("home", home.path)
                with Session(program, *flags, **settings) as session:
                    observed = steps(session)
                    return seen(home, session.finish(), observed)

        return self.both(scenario)


def tests(cases):
    """Adds a test for each case: a name, and what to do with the test case."""
    def add(cls):
        for name, body in cases:
            def test(self, body=body):
                body(self)
            test.__name__ = "test_" + name
            assert not hasattr(cls, test.__name__), name
            setattr(cls, test.__name__, test)
        return cls
    return add


FORMATS = {"plain": (), "stamps": ("-t",), "boundaries": ("-b",), "both": ("-b", "-t")}

# What one read after the other brings. A tuple goes from the program to the client, everything else the other way.
CHUNKS = {
    "one_line": (b"a1 CAPABILITY\r\n",),
    "lines_in_one": (b"one\r\ntwo\r\nthree\r\n",),
    "line_in_pieces": (b"abc", b"def", b"\r\nghi", b"\n", b"last"),
    "only_line_feeds": (b"\n\n\n",),
    "line_feed_first": (b"four\nfive", b"\nsix\n"),
    "carriage_return_alone": (b"a\rb\r", b"\nc\r\n"),
    "no_last_line_feed": (b"one\ntwo",),
    "nothing_but_one_byte": (b"x",),
    "nul_bytes": (b"a\0b\n\0", b"\0\n"),
    "eight_bit": (bytes(range(256)), bytes(range(255, -1, -1))),
    "invalid_text": ("häuser\n".encode("latin-1"), b"\xff\xfe\xc3\n\xe2\x82"),
    "marks_of_its_own": (b"<<<\nfake\n>>>\n", b">>>", b"\n<<<\n"),
    "stamps_of_its_own": (b"1795340682.095328 x\n", b"y\n"),
    "byte_by_byte": tuple(bytes([byte]) for byte in b"ab\r\nc\n\nd"),
    "both_ways": (b"a1 LOGIN x\r\n", (b"a1 OK\r\n",), b"a2 NOOP\r\n", (b"* 1 EXISTS\r\na2 O",), (b"K\r\n",), b"tail"),
    "only_to_the_client": ((b"* OK\r\n",), (b"more",), (b"\n",)),
    "page": (b"p" * 4096,),
    "page_and_one": (b"p" * 4095 + b"\nq",),
    "a_read": (b"r" * 8191 + b"\n", (b"s" * 8192,)),
    "more_than_a_line": (b"l" * 3000 + b"\n" + b"m" * 3000, b"\nn"),
}


def chunk_cases():
    for (name, pieces), (form, flags) in itertools.product(CHUNKS.items(), FORMATS.items()):
        def body(case, pieces=pieces, flags=flags):
            case.session(lambda session: session.exchange(*pieces), *flags)
        yield f"{name}_{form}", body


@tests(chunk_cases())
class Chunks(Beside):
    """Bytes on the disk, with and without stamps and boundaries."""


class LongStreams(Beside):
    """More than one read: where the reads end is chance, what they hold is not."""

    def streams(self, *flags):
        def steps(session):
            data = bytes(range(256)) * 256 + b"\n"
            session.ask("read", 65537)
            session.send(data)
            self.assertEqual(bytes.fromhex(session.answer()["data"]), data)
            session.ask("write", data.hex())
            self.assertEqual(session.receive(65537), data)
            session.answer()

        return steps

    def test_65537_bytes(self):
        self.session(self.streams())

    def test_65537_bytes_one_way_then_the_other_with_a_filter(self):
        self.session(self.streams(), "-f", "in")

    def test_bytes_without_line_feeds(self):
        def steps(session):
            data = b"n" * 100_000
            session.ask("read", len(data))
            session.send(data)
            self.assertEqual(bytes.fromhex(session.answer()["data"]), data)
        self.session(steps)

    def test_a_long_line_has_one_stamp(self):
        def steps(session):
            data = b"n" * 50_000 + b"\n"
            session.ask("read", len(data))
            session.send(data)
            self.assertEqual(bytes.fromhex(session.answer()["data"]), data)
        result = self.session(steps, "-t")
        self.assertEqual(result["files"]["TIME-PID.in"][0].count(b"@"), 1)


def flag_cases():
    dialogue = (b"a1 NOOP\r\n", (b"a1 OK\r\n",), b"half", b" line\n")
    filters = {"all": (), "in": ("-f", "in"), "out": ("-f", "out"), "neither": ("-f", "in", "-f", "out")}
    for (name, chosen), count in itertools.product(filters.items(), range(4)):
        for others in itertools.combinations(("-b", "-I", "-t"), count):
            def body(case, flags=(*chosen, *others)):
                case.session(lambda session: session.exchange(*dialogue), *flags, environment={"IP": "192.0.2.7"})
            yield "_".join([name, *(flag[1:].lower() + "_flag" for flag in others)]), body


@tests(flag_cases())
class Flags(Beside):
    """Every combination of -f, -b, -I and -t."""


class Names(Beside):
    def named(self, environment, *flags):
        return self.session(lambda session: None, *flags, environment=environment)["files"]

    def test_no_traffic(self):
        self.assertEqual(set(self.named({})), {"TIME-PID.in", "TIME-PID.out"})

    def test_an_address(self):
        self.assertEqual(set(self.named({"IP": "192.0.2.7"}, "-I")), {"192.0.2.7-TIME-PID.in", "192.0.2.7-TIME-PID.out"})

    def test_an_address_of_version_6(self):
        self.assertIn("2001:db8::1-TIME-PID.in", self.named({"IP": "2001:db8::1"}, "-I"))

    def test_an_empty_address(self):
        self.assertIn("-TIME-PID.in", self.named({"IP": ""}, "-I"))

    def test_an_address_nobody_asked_for(self):
        self.assertIn("TIME-PID.in", self.named({"IP": "192.0.2.7"}))

    def test_no_address_where_one_is_asked_for(self):
        self.assertIn("TIME-PID.in", self.named({}, "-I"))

    def test_an_address_that_is_a_path(self):
        """It leads nowhere: the directory between does not exist."""
        result = self.session(lambda session: None, "-I", "-f", "in", environment={"IP": "no/where"})
        self.assertEqual(len(result["errors"]), 1)

    def test_the_time_is_local(self):
        def hours(zone):
            with Home() as home, Session(OURS, home=home.path, environment={"TZ": zone}) as session:
                session.finish()
                name = sorted(home.files())[0]
            return name
        # Two zones without the same date and hour at any time.
        self.assertNotEqual(hours("UTC+11")[:11], hours("UTC-11")[:11])

    def test_the_process_is_the_recorder(self):
        with Home() as home, Session(OURS, home=home.path) as session:
            recorder = session.recorder()
            session.finish()
            self.assertTrue(all(f"-{recorder}." in name for name in home.files()), home.files())

    def test_umask(self):
        for mask in (0o000, 0o077, 0o277):
            with self.subTest(mask=oct(mask)):
                self.session(lambda session: None, before=lambda: os.umask(mask))


class Directories(Beside):
    """What makes a session a recorded one, and what is said when it is not."""

    def direct(self, *arguments, **keywords):
        """No recorder: the target keeps what it was given."""
        def steps(session):
            told = session.tell("describe")
            return {key: told[key] for key in ("arguments", "descriptors", "same", "blocking", "ignored")}
        result = self.session(steps, *arguments, **keywords)
        self.assertEqual(result["files"], {})
        return result["errors"]

    def test_none(self):
        self.assertEqual(self.direct(directory=False), [])

    def test_none_and_debug(self):
        errors = self.direct(directory=False, environment={"DEBUG": "1"})
        self.assertEqual(errors, ["Info: rawlog: BASE/home/dovecot.rawlog doesn't exist"])

    def test_none_and_empty_debug(self):
        self.assertEqual(len(self.direct(directory=False, environment={"DEBUG": ""})), 1)

    def put(self, make):
        return lambda home: make(home.directory)

    def test_a_file(self):
        prepare = self.put(lambda path: open(path, "wb").close())
        self.assertEqual(self.direct(directory=False, prepare=prepare), [])

    def test_a_file_and_debug(self):
        prepare = self.put(lambda path: open(path, "wb").close())
        errors = self.direct(directory=False, prepare=prepare, environment={"DEBUG": "1"})
        self.assertEqual(errors, ["Info: rawlog: BASE/home/dovecot.rawlog is not a directory"])

    def link(self, home):
        os.mkdir(home.path + "/elsewhere")
        os.symlink(home.path + "/elsewhere", home.directory)

    def test_a_link_to_a_directory(self):
        self.assertEqual(self.direct(directory=False, prepare=self.link), [])

    def test_a_link_to_a_directory_and_debug(self):
        errors = self.direct(directory=False, prepare=self.link, environment={"DEBUG": "1"})
        self.assertEqual(errors, ["Info: rawlog: BASE/home/dovecot.rawlog is not a directory"])

    def test_a_dangling_link(self):
        prepare = self.put(lambda path: os.symlink("/nonexistent", path))
        errors = self.direct(directory=False, prepare=prepare, environment={"DEBUG": "1"})
        self.assertEqual(errors, ["Info: rawlog: BASE/home/dovecot.rawlog is not a directory"])

    def test_a_pipe(self):
        self.direct(directory=False, prepare=self.put(os.mkfifo), environment={"DEBUG": "1"})

    def test_home_is_a_file(self):
        def prepare(home):
            open(home.path + "/file", "wb").close()
        errors = self.direct(prepare=prepare, home=lambda home: home.path + "/file")
        self.assertEqual(errors, ["Warning: lstat() failed for BASE/home/file/dovecot.rawlog: Not a directory"])

    @unittest.skipUnless(os.geteuid() == 0, "needs a directory of somebody else's")
    def test_home_is_closed(self):
        def scenario(program):
            with Home() as home:
                os.chown(home.path, 0, 0)
                os.chmod(home.path, 0o700)
                with Session(program, home=home.path) as session:
                    session.exchange(b"x")
                    return seen(home, session.finish())
        errors = self.both(scenario)["errors"]
        self.assertEqual(errors, ["Warning: lstat() failed for BASE/home/dovecot.rawlog: Permission denied"])

    def test_home_does_not_exist(self):
        self.direct(home=lambda home: home.path + "/none", environment={"DEBUG": "1"})

    def test_home_is_unset(self):
        """Then it is the working directory."""
        def steps(session):
            session.exchange(b"x\n")
        result = self.session(steps, home=None, cwd=lambda home: home.path)
        self.assertEqual(set(result["files"]), {"TIME-PID.in", "TIME-PID.out"})

    def test_home_is_unset_and_nothing_there(self):
        errors = self.direct(home=None, cwd="/", environment={"DEBUG": "1"})
        self.assertEqual(errors, ["Info: rawlog: ./dovecot.rawlog doesn't exist"])

    def test_home_is_empty(self):
        errors = self.direct(home="", environment={"DEBUG": "1"})
        self.assertEqual(errors, ["Info: rawlog: /dovecot.rawlog doesn't exist"])

    def test_home_ends_in_a_slash(self):
        result = self.session(lambda session: session.exchange(b"x"), home=lambda home: home.path + "/")
        self.assertEqual(len(result["files"]), 2)

    def test_home_is_relative(self):
        result = self.session(lambda session: session.exchange(b"x"), home="home", cwd=lambda home: home.base)
        self.assertEqual(len(result["files"]), 2)

    def test_a_root_that_is_empty(self):
        """RESTRICT_CHROOT without a value is no root, but HOME is joined to it all the same."""
        result = self.session(lambda session: session.exchange(b"x"), environment={"RESTRICT_CHROOT": ""})
        self.assertEqual(len(result["files"]), 2)

    def test_not_writable(self):
        def prepare(home):
            os.chmod(home.directory, 0o500)
        result = self.session(lambda session: session.exchange(b"x", (b"y",)), "-f", "in", prepare=prepare)
        self.assertEqual(result["errors"],
                         ["Error: rawlog_open: creat(BASE/home/dovecot.rawlog/TIME-PID.in): Permission denied"])

    def test_not_searchable(self):
        def prepare(home):
            os.chmod(home.directory, 0o600)
        result = self.session(lambda session: session.exchange(b"x"), "-f", "out", prepare=prepare)
        self.assertEqual(len(result["errors"]), 1)

    @unittest.skipUnless(os.geteuid() == 0, "needs to mount")
    def test_a_file_system_that_is_read_only(self):
        def scenario(program):
            with Home() as home:
                rawlog.subprocess.run(["mount", "--bind", home.directory, home.directory], check=True)
                try:
                    rawlog.subprocess.run(["mount", "-o", "remount,bind,ro", home.directory], check=True)
                    with Session(program, "-f", "in", home=home.path) as session:
                        session.exchange(b"x")
                        return seen(home, session.finish())
                finally:
                    rawlog.subprocess.run(["umount", home.directory], check=True)
        probe = rawlog.subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
        if probe.returncode:
            self.skipTest("mounts are not allowed here")
        errors = self.both(scenario)["errors"]
        self.assertEqual(len(errors), 1)
        self.assertIn("Read-only file system", errors[0])


class Target(Beside):
    """The program behind it: how it is started, and what it finds."""

    def test_what_it_finds(self):
        """The same as under the original, in a recorded session and in one that is not."""
        for directory in (True, False):
            with self.subTest(directory=directory):
                def steps(session):
                    told = session.tell("describe")
                    self.assertEqual(told.pop("pid"), session.pid)
                    told["environment"].pop("HOME")
                    return told
                result = self.session(steps, "-t", directory=directory, environment={"IP": "192.0.2.7", "EMPTY": ""})
                told = result["observed"]
                self.assertEqual(told["ignored"], [signal.SIGPIPE])
                self.assertEqual(told["environment"],
                                 {"USER": "alice", "PATH": "/usr/bin:/bin", "IP": "192.0.2.7", "EMPTY": ""})
                kinds = {told["descriptors"][name] for name in "01"}
                self.assertEqual(kinds, {stat.S_IFSOCK})
                if directory:
                    self.assertEqual(told["blocking"], [False, False])

    def test_descriptors_are_passed_on(self):
        def scenario(program):
            reading, writing = os.pipe()
            with Home() as home, Session(program, home=home.path, pass_fds=(writing,)) as session:
                os.close(writing)
                kept = str(writing) in session.tell("describe")["descriptors"]
                session.finish()
                os.close(reading)
                return kept
        self.assertTrue(self.both(scenario))

    def test_name_without_its_directory(self):
        def steps(session):
            return session.tell("describe")["arguments"][0]
        link = lambda home: os.symlink(rawlog.PYTHON, home.path + "/my python")
        for directory in (True, False):
            def scenario(program):
                with Home(directory) as home:
                    link(home)
                    ours, theirs = socket.socketpair()
                    ours.close()
                    theirs.close()
                    # -c makes it a program of its own that prints its first argument's last component.
                    target = (home.path + "/my python", "-S", "-E", "-c",
                              "import os;os.write(1,open('/proc/self/cmdline','rb').read().split(b'\\0')[0])")
                    with Session(program, home=home.path, target=target) as session:
                        name = session.receive_all()
                        return name, session.finish()
            with self.subTest(directory=directory):
                self.assertEqual(self.both(scenario)[0], b"my python")

    def test_status_of_the_target(self):
        for status in (0, 1, 77, 255):
            with self.subTest(status=status):
                def steps(session, status=status):
                    session.exchange(b"x")
                    session.target_exits(status)
                    return session.receive(1)
                result = self.session(steps)
                self.assertEqual((result["status"], result["observed"]), (status, b""))

    def test_a_signal_ends_the_target(self):
        def steps(session):
            session.exchange(b"x\n", (b"y\n",))
            os.kill(session.pid, signal.SIGTERM)
            return session.receive(1)
        result = self.session(steps)
        self.assertEqual(result["status"], -signal.SIGTERM)
        self.assertEqual(result["files"]["TIME-PID.in"][0], b"x\n")

    def test_sigkill_ends_the_target(self):
        def steps(session):
            session.exchange(b"x\n", (b"y",))
            os.kill(session.pid, signal.SIGKILL)
            return session.receive(1)
        self.assertEqual(self.session(steps, "-t")["status"], -signal.SIGKILL)

    def test_cannot_be_executed_in_a_recorded_session(self):
        """Two empty files remain, with the original too."""
        result = self.session(lambda session: session.receive(1), target=("/nonexistent",))
        self.assertEqual((result["status"], len(result["files"])), (84, 2))
        self.assertEqual(result["errors"], ["Fatal: execv(/nonexistent) failed: No such file or directory"])

    def test_descriptors_that_are_two_pipes(self):
        result = self.session(lambda session: session.exchange(b"in\n", (b"out\n",)), "-t", pipes=True)
        self.assertEqual(result["files"]["TIME-PID.in"][0], b"@0 in\n")

    def test_tcp(self):
        self.session(lambda session: session.exchange(b"in\n", (b"out\n",), b"more"), "-b", "-t", tcp=True)

    def test_what_was_queued_before_the_end(self):
        """Everything that the client sent before it closed is forwarded and recorded."""
        def steps(session):
            session.send(b"first\n")
            session.send(b"second\n")
            session.client.close()
            return session.target_reads(100)
        result = self.session(steps)
        self.assertEqual(result["observed"], b"first\nsecond\n")
        self.assertEqual(result["files"]["TIME-PID.in"][0], b"first\nsecond\n")

    def test_what_the_target_said_last(self):
        def steps(session):
            session.target_writes(b"* BYE\r\n")
            session.target_exits()
            return session.receive(100)
        self.assertEqual(self.session(steps)["files"]["TIME-PID.out"][0], b"* BYE\r\n")

    def test_files_are_there_from_the_beginning(self):
        def scenario(program):
            with Home() as home, Session(program, home=home.path) as session:
                session.exchange(b"x", (b"y",))
                found = {without_name(name): content for name, content in home.files().items()}
                session.finish()
                return found
        self.assertEqual(self.both(scenario), {"TIME-PID.in": b"", "TIME-PID.out": b""})

    def test_written_after_a_second(self):
        """And one timer is for both files. (-f crashes the original at that moment.)"""
        def scenario(program):
            with Home() as home, Session(program, "-t", home=home.path) as session:
                session.exchange(b"x", (b"y\n",))
                rawlog.wait_until(lambda: all(home.files().values()), what="the files to be written")
                session.exchange(b"more\n", (b"z",))
                return seen(home, session.finish())
        files = self.both(scenario)["files"]
        self.assertEqual(files["TIME-PID.in"][0], b"@0 xmore\n")
        self.assertEqual(files["TIME-PID.out"][0], b"@0 y\n@1 z")

    def test_signals_that_are_swallowed(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number=number):
                def steps(session, number=number):
                    session.exchange(b"one\n", (b"two\n",))
                    os.kill(session.recorder(), number)
                    session.exchange(b"three\n", (b"four\n",))
                self.session(steps, "-t")

    def test_title(self):
        def scenario(program):
            with Home() as home, Session(program, "-t", home=home.path, name="/path/to/rawlog") as session:
                with open(f"/proc/{session.recorder()}/cmdline", "rb") as file:
                    title = file.read().rstrip(b"\0").replace(b"%d" % session.pid, b"PID")
                with open(f"/proc/{session.recorder()}/comm", "rb") as file:
                    name = file.read()
                session.finish()
                return title, name
        self.assertEqual(self.both(scenario), (b"/path/to/rawlog [alice:PID rawlog]", b"rawlog\n"))


class CommandLine(Beside):
    """Grammar, exit codes and messages."""

    def command(self, *arguments, name="rawlog", **environment):
        environment.setdefault("HOME", "/nonexistent")
        return self.both(lambda program: run(program, *arguments, name=name, environment=environment))

    usage = "rawlog: Fatal: Usage: rawlog [-f in|out] [-I] [-b] [-t] <binary> <arguments>"

    def test_no_target(self):
        for arguments in ((), ("-t",), ("-t", "-b", "-I"), ("-f", "in"), ("--",), ("-t", "--"), ("-c", "x")):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.command(*arguments), (89, b"", [self.usage]))

    def test_bad_filters(self):
        for value in ("", "IN", "both", "i", "in ", "in,out", "-t"):
            with self.subTest(value=value):
                expected = (89, b"", [f"rawlog: Fatal: Invalid filter: {value}"])
                self.assertEqual(self.command("-f", value, "/bin/true"), expected)

    def test_a_bad_filter_comes_first(self):
        self.assertEqual(self.command("-f", "x", "-z")[2], ["rawlog: Fatal: Invalid filter: x"])

    def test_unknown_options(self):
        for option in ("-x", "-tx", "--help", "--version", "-F", "-s", "-e", "-h", "-T", "-B", "-i!"[:2] + "x"):
            with self.subTest(option=option):
                if option.startswith("-i"):
                    continue
                status, output, errors = self.command(option, "/bin/true")
                self.assertEqual((status, output, len(errors)), (89, b"", 1))
                self.assertRegex(errors[0], "^rawlog: invalid option -- '.'$")

    def test_missing_values(self):
        for option in ("-f", "-tf", "-c", "-o", "-i"):
            with self.subTest(option=option):
                status, _, errors = self.command(option)
                self.assertEqual((status, errors), (89, [f"rawlog: option requires an argument -- '{option[-1]}'"]))

    def test_the_name_in_messages(self):
        _, _, errors = self.command("-x", name="/some/where/my-rawlog")
        self.assertEqual(errors, ["/some/where/my-rawlog: invalid option -- 'x'"])

    def test_options_end_at_the_target(self):
        for arguments in (("-t", "/bin/echo", "-x", "-f", "no"), ("-tbI", "-fin", "/bin/echo", "-t"),
                          ("--", "/bin/echo", "--", "-b"), ("-bft".replace("t", "out"), "/bin/echo", "ok"),
                          ("-k", "-O", "-L", "-c", "/none", "-o", "a=b", "/bin/echo", "generic"),
                          ("/bin/echo",), ("-t", "-t", "-t", "/bin/echo", "twice")):
            with self.subTest(arguments=arguments):
                status, output, errors = self.command(*arguments)
                self.assertEqual((status, errors), (0, []))
                self.assertTrue(output.endswith(b"\n"))

    def test_no_search_in_path(self):
        status, _, errors = self.command("echo", "x", PATH="/bin:/usr/bin")
        self.assertEqual((status, errors), (84, ["Fatal: execv(echo) failed: No such file or directory"]))

    def test_relative_to_the_working_directory(self):
        result = self.both(lambda program: run(program, "bin/echo", "x", environment={"HOME": "/none"}, cwd="/"))
        self.assertEqual(result, (0, b"x\n", []))

    def test_cannot_be_executed(self):
        for path in ("/nonexistent", "/etc/passwd", "/tmp", "", "/", "nonexistent/", "/bin/echo/x"):
            with self.subTest(path=path):
                status, output, errors = self.command("-t", path)
                self.assertEqual((status, output, len(errors)), (84, b"", 1))
                self.assertTrue(errors[0].startswith(f"Fatal: execv({path}) failed: "), errors)

    def test_a_script(self):
        with Home(False) as home:
            script = home.path + "/script"
            with open(script, "w", encoding="ascii") as file:
                file.write("#!/bin/sh\necho \"$0 $*\"\n")
            os.chmod(script, 0o755)
            status, output, _ = self.command(script, "a", "b c")
            self.assertEqual((status, output), (0, f"{script} a b c\n".encode("ascii")))

    def test_environment_is_passed_on(self):
        status, output, _ = self.command("/usr/bin/env", IP="::1", EMPTY="", LOG_PATH="x", DOVECOT_VERSION="1")
        self.assertEqual(status, 0)
        self.assertEqual(set(output.split(b"\n")),
                         {b"HOME=/nonexistent", b"IP=::1", b"EMPTY=", b"LOG_PATH=x", b"DOVECOT_VERSION=1", b""})

    def test_debug(self):
        for value in ("", "1", "no"):
            with self.subTest(value=value):
                _, _, errors = self.command("/bin/true", DEBUG=value)
                self.assertEqual(errors, ["Info: rawlog: /nonexistent/dovecot.rawlog doesn't exist"])


@unittest.skipUnless(os.geteuid() == 0, "needs root to give up")
class Restricted(Beside):
    """RESTRICT_*: the recorder takes other rights on, the target does not."""

    def restricted(self, environment, *, prepare=None, home=None, directory=True):
        def scenario(program):
            with Home(directory) as made:
                if prepare:
                    prepare(made)
                values = {key: value(made) if callable(value) else value for key, value in environment.items()}
                with Session(program, "-t", home=home(made) if home else made.path, environment=values,
                             identity=(0, 0)) as session:
                    told = session.tell("describe")
                    session.exchange(b"x\n", (b"y\n",))
                    recorder = session.recorders()
                    status = {}
                    if recorder:
                        with open(f"/proc/{recorder[0]}/status", encoding="ascii") as file:
                            fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
                        status = {name: fields[name].split() for name in ("Uid", "Gid", "Groups")}
                    return seen(made, session.finish(), (told["uid"], status))
        return self.both(scenario)

    def test_a_user_and_a_group(self):
        result = self.restricted({"RESTRICT_SETUID": "65534", "RESTRICT_SETGID": "65534"})
        uid, status = result["observed"]
        self.assertEqual((uid, status["Uid"]), (0, ["65534"] * 4))
        self.assertEqual({file[2] for file in result["files"].values()}, {65534})

    def test_a_user_alone(self):
        self.restricted({"RESTRICT_SETUID": "65534"})

    def test_extra_groups(self):
        result = self.restricted({"RESTRICT_SETUID": "65534", "RESTRICT_SETGID": "65534",
                                  "RESTRICT_SETEXTRAGROUPS": "mail,7, 65534"})
        self.assertEqual(set(result["observed"][1]["Groups"]), {"65534", "8", "7"})

    def test_the_groups_of_a_user(self):
        self.restricted({"RESTRICT_SETUID": "65534", "RESTRICT_SETGID": "65534", "RESTRICT_USER": "nobody"})

    def test_the_groups_of_a_user_within_bounds(self):
        self.restricted({"RESTRICT_SETUID": "65534", "RESTRICT_SETGID": "65534", "RESTRICT_USER": "root",
                         "RESTRICT_GID_FIRST": "1", "RESTRICT_GID_LAST": "70000"})

    def test_a_privileged_group(self):
        result = self.restricted({"RESTRICT_SETUID": "65534", "RESTRICT_SETGID": "65534",
                                  "RESTRICT_SETGID_PRIV": "8"})
        self.assertEqual(result["observed"][1]["Gid"], ["65534", "65534", "8", "65534"])

    def test_a_root(self):
        """The directory is tested below the new root, and used as it is called inside."""
        result = self.restricted(
            {"RESTRICT_SETUID": "65534", "RESTRICT_SETGID": "65534", "RESTRICT_CHROOT": lambda home: home.base},
            home=lambda home: "/home")
        self.assertEqual(len(result["files"]), 2)

    def test_a_root_and_no_home_in_it(self):
        result = self.restricted(
            {"RESTRICT_SETUID": "65534", "RESTRICT_SETGID": "65534", "RESTRICT_CHROOT": lambda home: home.path},
            home=lambda home: "")
        self.assertEqual(len(result["files"]), 2)

    def test_a_root_without_the_directory(self):
        self.restricted({"RESTRICT_SETUID": "65534", "RESTRICT_CHROOT": "/nonexistent", "DEBUG": "1"})


if __name__ == "__main__":
    unittest.main()
