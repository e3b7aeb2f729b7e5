"""The five dialects of STARTTLS: simple servers, and what a client says to them."""

import threading

from peers import ScriptedServer
from tls import CERTIFICATES, Plain, Sealed

PASSWORD = "top-secret-pw"
ENCODED = "AGpvZQB0b3Atc2VjcmV0LXB3"  # NUL joe NUL PASSWORD


class Dialect:
    """What is said in one protocol. Lines have no end here.

    `starttls`, `accepted`, `refused`: the command and its answers. `hello` asks for the capabilities, `login` logs in
    (nobody does with LMTP), `quit` ends. `offer` is how the capability stands in a line of its own.
    """

    def __init__(self, name, starttls, accepted, refused, hello, noop, login, quit, offer):
        self.name = name
        self.starttls, self.accepted, self.refused = starttls, accepted, refused
        self.hello, self.noop, self.login, self.quit, self.offer = hello, noop, login, quit, offer

    def __repr__(self):
        return self.name

    @property
    def word(self):
        return b"STLS" if self.name == "pop3" else b"STARTTLS"

    def greeting(self, offers):
        if self.name == "imap":
            return f"* OK [CAPABILITY IMAP4rev1{' STARTTLS' if offers else ''} AUTH=PLAIN] hello\r\n".encode()
        if self.name == "pop3":
            return b"+OK hello\r\n"
        if self.name == "sieve":
            return self.capabilities(offers)
        return b"220-first\r\n220 hello\r\n"

    def capabilities(self, offers):
        """The answer to `hello`."""
        line = f"{self.offer}\r\n".encode() if offers else b""
        if self.name == "imap":
            return f"* CAPABILITY IMAP4rev1{' STARTTLS' if offers else ''} AUTH=PLAIN\r\nc OK done\r\n".encode()
        if self.name == "pop3":
            return b"+OK list\r\nTOP\r\n" + line + b"SASL PLAIN\r\n.\r\n"
        if self.name == "sieve":
            return b'"IMPLEMENTATION" "x"\r\n' + line + b'"SIEVE" "fileinto"\r\nOK "ready"\r\n'
        return b"250-me\r\n" + line + b"250 AUTH PLAIN\r\n"

    def answer(self, line):
        """The answer to any other command."""
        if self.name == "imap":
            return line.split(b" ")[0] + b" OK done\r\n"
        return {"pop3": b"+OK\r\n", "sieve": b"OK\r\n"}.get(self.name) or (
            b"235 in\r\n" if line.startswith(b"AUTH") else b"250 ok\r\n")

    def read_answer(self, peer, isList=False):
        """All lines of one answer."""
        answer = b""
        while True:
            line = peer.read_line()
            answer += line
            if not line or self._is_last(line, isList):
                return answer

    def _is_last(self, line, isList):
        if self.name == "imap":
            return not line.startswith(b"* ") or line.startswith((b"* OK", b"* BYE"))
        if self.name == "pop3":
            return not isList or line == b".\r\n" or line.startswith(b"-ERR")
        if self.name == "sieve":
            return line.startswith((b"OK", b"NO", b"BYE"))
        return line[3:4] != b"-"

    def ask(self, peer, command):
        peer.write(command.encode() + b"\r\n")
        return self.read_answer(peer, command == self.hello)


IMAP = Dialect("imap", "s STARTTLS", "s OK go", "s NO not now", "c CAPABILITY", "n NOOP", f"l LOGIN joe {PASSWORD}",
               "q LOGOUT", "")
POP3 = Dialect("pop3", "STLS", "+OK go", "-ERR not now", "CAPA", "NOOP", f"AUTH PLAIN {ENCODED}", "QUIT", "STLS")
SMTP = Dialect("smtp", "STARTTLS", "220 go", "454 not now", "EHLO me", "NOOP", f"AUTH PLAIN {ENCODED}", "QUIT",
               "250-STARTTLS")
LMTP = Dialect("lmtp", "STARTTLS", "220 go", "454 not now", "LHLO me", "NOOP", None, "QUIT", "250-STARTTLS")
SIEVE = Dialect("sieve", "STARTTLS", 'OK "go"', 'NO "not now"', "CAPABILITY", "NOOP",
                f'AUTHENTICATE "PLAIN" "{ENCODED}"', "LOGOUT", '"STARTTLS"')
DIALECTS = (IMAP, POP3, SMTP, LMTP, SIEVE)


class MailServer(ScriptedServer):
    """A server that knows a few commands of a dialect. `heard` has what it was told: each line, and whether under TLS.

    `implicit`: TLS from the first byte. `offers`: it lists STARTTLS and begins TLS when it is asked for. `refusals`:
    how often it refuses first. `behind`: bytes in the clear right behind its agreement, `later`: in a segment of their
    own. `hold`: an event that it waits for before it answers NOOP or STARTTLS. `piece`: how many bytes a segment has.
    `greeting`, `capabilities`: said instead of the usual ones. `refuses_login`: nobody gets in. `leaves`: it closes
    instead of answering STARTTLS.
    """

    def __init__(self, dialect, implicit=False, offers=False, refusals=0, behind=b"", later=b"", hold=None, piece=None,
                 greeting=None, capabilities=None, refuses_login=False, leaves=False):
        self.dialect, self.implicit, self.offers, self.refusals = dialect, implicit, offers, refusals
        self.behind, self.later, self.hold, self.piece = behind, later, hold, piece
        self.greeting, self.capabilities = greeting, capabilities
        self.refuses_login, self.leaves = refuses_login, leaves
        self.heard = []
        super().__init__(self._converse)

    @property
    def commands(self):
        return [line for line, _ in self.heard]

    def _converse(self, connection):
        peer = Plain(connection)
        secured = self.implicit
        if secured:
            peer = self._secure(connection)
        self._say(peer, self.greeting or self.dialect.greeting(self.offers and not secured))
        while line := peer.read_line():
            line = line.rstrip(b"\r\n")
            self.heard.append((line, secured))
            if line.upper().endswith(self.dialect.word) and not secured and self.offers:
                self._wait()
                if self.leaves:
                    return
                begins = self._begins()
                answer = (self.dialect.accepted if begins else self.dialect.refused).encode() + b"\r\n"
                if self.dialect is IMAP:
                    answer = line.split(b" ")[0] + answer[answer.index(b" "):]
                peer.write(answer + (self.behind if begins else b""))
                if not begins:
                    continue
                if self.later:
                    peer.write(self.later)
                peer, secured = self._secure(connection), True
                if self.dialect is SIEVE:
                    self._say(peer, self.dialect.greeting(False))
            elif self._converse_more(peer, line, secured):
                return

    def _converse_more(self, peer, line, secured):
        """Any other command; true at the end."""
        if line.upper() == self.dialect.quit.upper().encode():
            peer.write(self.dialect.answer(line))
            peer.close_notify()
            return True
        if line.upper().split(b" ")[-1 if self.dialect is IMAP else 0] in (b"CAPABILITY", b"CAPA", b"EHLO", b"LHLO"):
            self._say(peer, self.capabilities or self.dialect.capabilities(self.offers and not secured))
        elif line.upper() == b"DATA":
            peer.write(b"354 go\r\n")
            while (text := peer.read_line()) not in (b".\r\n", b""):
                self.heard.append((text.rstrip(b"\r\n"), secured))
            peer.write(b"250 ok\r\n")
        elif line.endswith(b"}"):
            peer.write(b"+ go\r\n")
            self.heard.append((peer.read_exactly(int(line[line.index(b"{") + 1:-1])), secured))
        elif line.upper() == b"AUTH PLAIN":
            peer.write(b"+ \r\n" if self.dialect is POP3 else b"334 \r\n")
            self.heard.append((peer.read_line().rstrip(b"\r\n"), secured))
            peer.write(b"-ERR no\r\n" if self.dialect is POP3 else b"535 no\r\n")
        elif self.refuses_login and self.dialect.login and line == self.dialect.login.encode():
            self._say(peer, {"imap": b"l NO no", "pop3": b"-ERR no", "sieve": b"NO"}.get(self.dialect.name, b"535 no")
                      + b"\r\n")
        else:
            if line.upper().split(b" ")[-1] == b"NOOP":
                self._wait()
            self._say(peer, self.dialect.answer(line))
        return False

    def _secure(self, connection):
        return Sealed(connection, CERTIFICATES.server_context(), server_side=True).handshake()

    def _begins(self):
        self.refusals -= 1
        return self.refusals < 0

    def _wait(self):
        if self.hold:
            self.hold.wait(20)

    def _say(self, peer, data):
        step = self.piece or len(data)
        for place in range(0, len(data), step):
            peer.write(data[place:place + step])
            if self.piece:
                # So that the other side most probably reads it by itself.
                threading.Event().wait(0.001)
