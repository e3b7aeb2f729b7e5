"""Debian's Dovecot for a test: its own directory, its own configuration, free ports, ended by pid."""

import base64
import contextlib
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading

from relay import wait_until

PROTOCOLS = ("imap", "pop3", "lmtp", "submission")
_MODULES = "/usr/lib/dovecot"
_MAIL_USER = "nobody"


def _binary():
    return shutil.which("dovecot", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def _version():
    """The first two numbers of the installed Dovecot's version; None when it does not say."""
    said = subprocess.run([_binary(), "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
    match = re.match(r"(\d+)\.(\d+)\.", said)
    return (int(match.group(1)), int(match.group(2))) if match else None


def why_unavailable():
    """A reason to skip the tests that need Dovecot, or None when it can be started."""
    binary = _binary()
    if binary is None:
        return "Dovecot is not installed (Debian: dovecot-imapd dovecot-pop3d dovecot-lmtpd dovecot-submissiond)"
    if _version() not in ((2, 3), (2, 4)):
        return f"{binary} is neither Dovecot 2.3 nor 2.4, whose configuration is known here"
    missing = [p for p in PROTOCOLS if not os.path.exists(os.path.join(_MODULES, p))]
    if missing:
        return "Dovecot lacks " + ", ".join(f"dovecot-{p}d" for p in missing)
    return None


def has_sieve():
    """Whether it also knows ManageSieve, whose service is `sieve` here as in its configuration."""
    return os.path.exists(os.path.join(_MODULES, "managesieve"))


class Dovecot:
    """A running Dovecot with one user; a context manager.

    `relay_port` is where submission passes its mail on (see SmtpSink). With `rawlog` each IMAP session is
    also recorded by Dovecot itself, into `rawlog_directory`; so is each of the protocols that `rawlog` names. It may be
    stopped and started again, and then has the same ports and mail.

    With `postlogin`, a command, the processes of imap, pop3 and submission are started through it, as
    `executable = script-login -d COMMAND` has it; this needs root. With `tls` the same protocols also listen with TLS, on
    `tls_ports`, and offer STARTTLS; the certificate is `certificate`. `users` are more users and their passwords;
    `mechanisms` are those of SASL, and `apop`. The protocol `sieve` needs dovecot-managesieved.
    With `login_rawlog` the login services record too (`imap-login -R`), into `login_rawlog_directory`; this needs root.
    With `haproxy` login services also listen on `proxied_ports`, where each connection begins with a PROXY header.
    `fields` are extra fields of the users in the password file. `more` is added to the configuration, with the directory
    for `{rawlog}`.
    """

    user = "alice"
    password = "wonder-land"

    def __init__(self, protocols=PROTOCOLS, relay_port=None, rawlog=False, postlogin=None, tls=False,
                 mechanisms=("plain", "login"), users=None, login_rawlog=False, haproxy=False, fields="", more=()):
        self.protocols = tuple(protocols)
        self._relay_port = relay_port
        self._rawlog = ("imap",) if rawlog is True else tuple(rawlog or ())
        self._postlogin = postlogin
        self._tls = tls
        self._mechanisms = tuple(mechanisms)
        self._login_rawlog = login_rawlog
        self._users = {self.user: self.password, **(users or {})}
        self._haproxy = haproxy
        self._fields = fields
        self._more = tuple(more)
        self.tls_ports = {}
        self.proxied_ports = {}
        self.process = None
        self.ports = {}
        self.directory = tempfile.mkdtemp(prefix="dovecot-")
        self.log_path = os.path.join(self.directory, "dovecot.log")
        self.rawlog_directory = os.path.join(self.directory, "rawlog")
        self.login_rawlog_directory = os.path.join(self.directory, "run", "login", "rawlog")

    def address(self, protocol):
        return ("127.0.0.1", self.ports[protocol])

    def start(self):
        """Returns when every protocol greets. Raises with Dovecot's own log when it does not come up."""
        if self.ports:
            self._start_once()
            return
        self._make_directories()
        for attempt in range(5):
            self.ports = _free_ports([p + kind for p in self.protocols for kind in ("", "-tls", "-proxied")])
            self.tls_ports = {p: self.ports.pop(p + "-tls") for p in self.protocols}
            self.proxied_ports = {p: self.ports.pop(p + "-proxied") for p in self.protocols}
            try:
                self._start_once()
                return
            except AssertionError:
                # Between choosing and binding, somebody else may have taken a port.
                if attempt == 4 or "Address already in use" not in self.log():
                    raise

    def _start_once(self):
        configuration = os.path.join(self.directory, "dovecot.conf")
        with open(configuration, "w", encoding="ascii") as file:
            file.write(self._configuration())
        output = open(os.path.join(self.directory, "output"), "ab")
        with output:
            self.process = subprocess.Popen([_binary(), "-F", "-c", configuration], stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=output, cwd=self.directory)
        try:
            for protocol in self.protocols:
                wait_until(lambda: self.process.poll() is not None or self._greets(protocol),
                           what=f"Dovecot's {protocol} greeting")
            if self.process.poll() is not None:
                raise AssertionError(f"Dovecot ended with {self.process.returncode}")
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}; its log:\n{self.log()}") from None

    def _greets(self, protocol):
        try:
            with socket.create_connection(self.address(protocol), timeout=10) as connection:
                # The whole line: closing on unread bytes would be a reset, and a puzzling line in the log.
                return connection.makefile("rb").readline() != b""
        except OSError:
            return False

    def stop(self):
        """SIGTERM to the master, which ends the others; SIGKILL when it does not obey."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self):
        self.stop()
        # The mail processes outlive their master for a moment, and may still write into the directory.
        def remove():
            shutil.rmtree(self.directory, ignore_errors=True)
            return not os.path.exists(self.directory)

        wait_until(remove, what="Dovecot's directory to be removed")

    def log(self):
        """What Dovecot said so far."""
        text = ""
        for path in (os.path.join(self.directory, "output"), self.log_path):
            with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as file:
                text += file.read()
        return text

    def _identity(self):
        """The mail user (name, group, uid, gid): never root, which Dovecot refuses to read mail as."""
        user = pwd.getpwnam(_MAIL_USER) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        return user.pw_name, grp.getgrgid(user.pw_gid).gr_name, user.pw_uid, user.pw_gid

    def _make_directories(self):
        _, _, uid, gid = self._identity()
        # Several users of Dovecot pass through here to what is theirs; none needs to list it.
        os.chmod(self.directory, 0o711)
        if self._tls:
            self._make_certificate()
        for name in ("home", "rawlog", *(f"home/{user}" for user in self._users)):
            path = os.path.join(self.directory, name)
            os.mkdir(path, 0o700)
            if os.geteuid() == 0:
                os.chown(path, uid, gid)
        if self._login_rawlog:
            os.makedirs(self.login_rawlog_directory)
            login_user = pwd.getpwnam("dovenull")
            for path in ("run", "run/login"):
                os.chmod(os.path.join(self.directory, path), 0o755)
            os.chown(self.login_rawlog_directory, login_user.pw_uid, login_user.pw_gid)
        users = os.path.join(self.directory, "users")
        with open(users, "w", encoding="ascii") as file:
            for user, password in self._users.items():
                encoded = base64.b64encode(password.encode()).decode()
                file.write(f"{user}:{{PLAIN.b64}}{encoded}:{uid}:{gid}::{self.directory}/home/{user}::{self._fields}\n")
        os.chmod(users, 0o644)

    def _make_certificate(self):
        self.certificate = os.path.join(self.directory, "certificate.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
                        "-keyout", os.path.join(self.directory, "key.pem"), "-out", self.certificate],
                       stdin=subprocess.DEVNULL, capture_output=True, check=True)

    def _tls_lines(self):
        key = os.path.join(self.directory, "key.pem")
        if not self._tls:
            return ["ssl = no"]
        if _version() == (2, 3):
            return ["ssl = yes", f"ssl_cert = <{self.certificate}", f"ssl_key = <{key}"]
        return ["ssl = yes", f"ssl_server_cert_file = {self.certificate}", f"ssl_server_key_file = {key}"]

    def _listener_lines(self, protocol, many_clients):
        """A login service: one process for all clients is quicker than one for each."""
        tls = f"port = {self.tls_ports[protocol]}\n    ssl = yes" if self._tls else "port = 0"
        recorded = f"  executable = {_login_service(protocol)} -R rawlog\n" if self._login_rawlog else ""
        proxied = ""
        if self._haproxy:
            proxied = (f"  inet_listener {protocol}_proxied {{\n    port = {self.proxied_ports[protocol]}\n"
                       "    haproxy = yes\n  }\n")
        return (f"service {_login_service(protocol)} {{\n  {many_clients}\n{recorded}{proxied}"
                f"  inet_listener {protocol} {{\n    port = {self.ports[protocol]}\n  }}\n"
                f"  inet_listener {protocol}s {{\n    {tls}\n  }}\n}}")

    def _postlogin_lines(self):
        """Each protocol's mail processes are started by a service that first lets a command become what it likes."""
        lines = []
        for protocol in self.protocols:
            if protocol == "lmtp" or not self._postlogin:
                continue
            name = f"postlogin-{protocol}"
            lines += [f"service {protocol} {{\n  executable = {protocol} {name}\n}}",
                      f"service {name} {{\n  executable = script-login -d {' '.join(self._postlogin)}\n"
                      f"  unix_listener {name} {{\n  }}\n}}"]
        return lines

    def _configuration(self):
        name, group, uid, gid = self._identity()
        directory = self.directory
        if _version() == (2, 3):
            many_clients = "service_count = 0"
            lines = [
                "disable_plaintext_auth = no",
                f"passdb {{\n  driver = passwd-file\n  args = username_format=%n {directory}/users\n}}",
                f"userdb {{\n  driver = passwd-file\n  args = username_format=%n {directory}/users\n}}",
                "mail_location = maildir:~/Maildir",
            ]
        else:
            many_clients = "restart_request_count = unlimited"
            lines = [
                # These two have to be the first.
                "dovecot_config_version = 2.4.0",
                "dovecot_storage_version = 2.4.0",
                "auth_allow_cleartext = yes",
                "auth_username_format = %{user | username | lower}",
                f"passdb passwd-file {{\n  passwd_file_path = {directory}/users\n}}",
                f"userdb passwd-file {{\n  passwd_file_path = {directory}/users\n}}",
                "mail_driver = maildir",
                "mail_path = ~/Maildir",
            ]
        lines += [
            f"base_dir = {directory}/run",
            f"state_dir = {directory}/state",
            f"log_path = {self.log_path}",
            "instance_name = recorder-test",
            "listen = 127.0.0.1",
            f"protocols = {' '.join(self.protocols)}",
            *self._tls_lines(),
            f"auth_mechanisms = {' '.join(self._mechanisms)}",
            "auth_failure_delay = 0",
            f"first_valid_uid = {uid}",
            f"first_valid_gid = {gid}",
            "mail_fsync = never",
            # All clients of a test come from one address, and many at a time.
            "mail_max_userip_connections = 0",
            "service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}",
        ]
        for protocol in self.protocols:
            if protocol == "lmtp":
                lines.append(f"service lmtp {{\n  inet_listener lmtp {{\n    port = {self.ports['lmtp']}\n  }}\n}}")
                continue
            lines.append(self._listener_lines(protocol, many_clients))
        lines += self._postlogin_lines()
        lines += ["haproxy_trusted_networks = 127.0.0.0/8"] if self._haproxy else []
        lines += [line.replace("{rawlog}", self.rawlog_directory) for line in self._more]
        if self._relay_port is not None:
            lines += ["submission_relay_host = 127.0.0.1", f"submission_relay_port = {self._relay_port}",
                      "submission_relay_ssl = no"]
        for protocol in self._rawlog:
            lines.append(f"protocol {protocol} {{\n  rawlog_dir = {self.rawlog_directory}\n}}")
        if os.geteuid() != 0:
            # Without root nothing can change its user or its root directory.
            lines += [f"default_internal_user = {name}", f"default_internal_group = {group}",
                      f"default_login_user = {name}", f"service lmtp {{\n  user = {name}\n}}"]
            services = ["anvil", "stats", "imap-urlauth-login", *(_login_service(p) for p in self.protocols if p != "lmtp")]
            lines += [f"service {service} {{\n  chroot =\n}}" for service in services]
        return "\n".join(lines) + "\n"

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()


def _login_service(protocol):
    return "managesieve-login" if protocol == "sieve" else f"{protocol}-login"


def _free_ports(names):
    """A free port for each name: all are held until the last is found, so that no two are the same."""
    with contextlib.ExitStack() as stack:
        ports = {}
        for name in names:
            holder = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            ports[name] = holder.getsockname()[1]
        return ports


class SinkMessage:
    """A message that arrived at the sink, with the dots of the transfer taken out again."""

    def __init__(self, sender, recipients, content):
        self.sender = sender
        self.recipients = recipients
        self.content = content


class SmtpSink:
    """An SMTP server that accepts everything and keeps it in `messages`; a context manager."""

    def __init__(self):
        self.messages = []
        sink = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self):
                sink._converse(self.rfile, self.wfile)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            # Ending the sink must not wait for a server that keeps its connection.
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Session)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05},
                                        daemon=True)
        self._thread.start()

    def _converse(self, reader, writer):
        def answer(*lines):
            writer.write("".join(line + "\r\n" for line in lines).encode("ascii"))

        sender, recipients = None, []
        try:
            answer("220 sink.test.invalid ESMTP")
            while True:
                line = reader.readline()
                if not line:
                    return
                command, _, argument = line.decode("latin-1").strip().partition(" ")
                command = command.upper()
                if command == "EHLO":
                    answer("250-sink.test.invalid", "250-8BITMIME", "250 PIPELINING")
                elif command == "MAIL":
                    sender, recipients = _path(argument), []
                    answer("250 2.1.0 Ok")
                elif command == "RCPT":
                    recipients.append(_path(argument))
                    answer("250 2.1.5 Ok")
                elif command == "DATA":
                    answer("354 Go on")
                    content = _dotted(reader)
                    if content is None:
                        return
                    self.messages.append(SinkMessage(sender, recipients, content))
                    sender, recipients = None, []
                    answer("250 2.0.0 Ok")
                elif command == "QUIT":
                    answer("221 2.0.0 Bye")
                    return
                elif command in ("HELO", "NOOP", "RSET"):
                    answer("250 2.0.0 Ok")
                else:
                    answer("500 5.5.1 Not known here")
        except OSError:
            # The server went away; what it delivered so far is kept.
            return

    def close(self):
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _path(argument):
    """The address inside `FROM:<address> …`."""
    return argument[argument.index("<") + 1:argument.index(">")]


def _dotted(reader):
    """The lines up to the lone dot; None when the connection ended before it."""
    content = bytearray()
    while True:
        line = reader.readline()
        if not line.endswith(b"\n"):
            return None
        if line == b".\r\n":
            return bytes(content)
        content += line[1:] if line.startswith(b".") else line
