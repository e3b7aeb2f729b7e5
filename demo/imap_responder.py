"""A small IMAP4rev1 server for the demonstration: one user, one mailbox, three messages, all built in.

Listens on 127.0.0.1 on a free port and prints that port. Ends on SIGTERM, or when its standard input
is closed, so that it never outlives whoever started it.
"""

import asyncio
import os
import re
import signal
import sys
import threading

USER = "demo"
PASSWORD = "open-sesame"
CAPABILITIES = "IMAP4rev1"
LITERAL_LIMIT = 4096
LINE_LIMIT = 8192

MESSAGES = [
    b"From: Ada <ada@example.org>\r\n"
    b"To: Demo <demo@example.org>\r\n"
    b"Subject: Welcome\r\n"
    b"Date: Mon, 5 Jan 2026 09:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\n"
    b"\r\n"
    b"Hello,\r\n"
    b"this message went through the recorder.\r\n",
    b"From: Grace <grace@example.org>\r\n"
    b"To: Demo <demo@example.org>\r\n"
    b"Subject: Caf\xc3\xa9 at ten?\r\n"
    b"Date: Tue, 6 Jan 2026 10:00:00 +0000\r\n"
    b"Message-ID: <2@example.org>\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"\r\n"
    b"See you at the caf\xc3\xa9.\r\n",
    b"From: Linus <linus@example.org>\r\n"
    b"To: Demo <demo@example.org>\r\n"
    b"Subject: A colourful line\r\n"
    b"Date: Wed, 7 Jan 2026 11:00:00 +0000\r\n"
    b"Message-ID: <3@example.org>\r\n"
    b"\r\n"
    b"\x1b[31mRed\x1b[0m on a careless terminal.\r\n",
]
DATES = ["05-Jan-2026 09:00:00 +0000", "06-Jan-2026 10:00:00 +0000", "07-Jan-2026 11:00:00 +0000"]


class Bad(Exception):
    """The client broke the grammar: the answer is BAD."""


class No(Exception):
    """The command is understood and refused: the answer is NO."""


class Session:
    """One client."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.authenticated = False
        self.selected = False
        self.ended = False

    def send(self, line):
        self.writer.write(line.encode("utf-8") + b"\r\n")

    async def run(self):
        self.send(f"* OK [CAPABILITY {CAPABILITIES}] Demonstration server ready.")
        while not self.ended:
            await self.writer.drain()
            command = await self.read_command()
            if command is None:
                return
            tag, name, arguments = command
            if tag is None:
                self.send("* BAD A command is a tag, a name and its arguments.")
                continue
            try:
                text = self.answer(name, arguments)
                self.send(f"{tag} OK {text}")
            except Bad as error:
                self.send(f"{tag} BAD {error}")
            except No as error:
                self.send(f"{tag} NO {error}")
        await self.writer.drain()

    async def read_command(self):
        """Tag, name and arguments; None at the end of the connection; a tag of None for what is no command."""
        tokens = []
        while True:
            line = await self.reader.readline()
            if not line.endswith(b"\n"):
                return None
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            literal = re.search(r"\{(\d{1,9})(\+?)\}$", text)
            found = tokens_of(text[:literal.start()] if literal else text)
            tokens = None if found is None or tokens is None else tokens + found
            if not literal:
                break
            size = int(literal.group(1))
            if size > LITERAL_LIMIT:
                # Whether the client now sends that much is its own choice: the conversation cannot go on.
                self.send("* BYE That literal is too long for me.")
                self.ended = True
                return None
            if not literal.group(2):
                self.send("+ Go on")
                await self.writer.drain()
            content = (await self.reader.readexactly(size)).decode("utf-8", "replace")
            if tokens is not None:
                tokens.append(content)
        if tokens is None or len(tokens) < 2 or not re.fullmatch(r'[^\s(){%*"\\+]+', tokens[0]):
            # The client can only match an answer by its tag: use it where there is one.
            first = text.split(" ", 1)[0]
            return (first, "", []) if re.fullmatch(r'[A-Za-z0-9.]+', first) else (None, "", [])
        return tokens[0], tokens[1].upper(), tokens[2:]

    def answer(self, name, arguments):
        """The text behind the tagged OK. Untagged answers are sent on the way."""
        commands = {
            "CAPABILITY": (self.capability, 0, None), "NOOP": (self.noop, 0, None), "LOGOUT": (self.logout, 0, None),
            "LOGIN": (self.login, 2, False), "SELECT": (self.select, 1, True), "EXAMINE": (self.examine, 1, True),
            "FETCH": (self.fetch, 2, True),
        }
        if name not in commands:
            raise Bad("I don't know that command.")
        command, count, needs_login = commands[name]
        if len(arguments) != count:
            raise Bad(f"{name} takes {count} arguments.")
        if needs_login and not self.authenticated:
            raise Bad("Log in first.")
        if needs_login is False and self.authenticated:
            raise Bad("You are logged in already.")
        return command(*arguments)

    def capability(self):
        self.send(f"* CAPABILITY {CAPABILITIES}")
        return "Capability completed."

    def noop(self):
        return "NOOP completed."

    def logout(self):
        self.send("* BYE Logging out")
        self.ended = True
        return "Logout completed."

    def login(self, user, password):
        if (user, password) != (USER, PASSWORD):
            raise No("[AUTHENTICATIONFAILED] Wrong user name or password.")
        self.authenticated = True
        return "Logged in"

    def select(self, mailbox):
        self.selected = False
        if mailbox.upper() != "INBOX":
            raise No("[NONEXISTENT] There is only INBOX.")
        self.selected = True
        self.send("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)")
        self.send("* OK [PERMANENTFLAGS ()] No flag can be changed.")
        self.send(f"* {len(MESSAGES)} EXISTS")
        self.send("* 0 RECENT")
        self.send("* OK [UIDVALIDITY 1] UIDs valid")
        self.send(f"* OK [UIDNEXT {len(MESSAGES) + 1}] Next UID")
        return "[READ-WRITE] Mailbox opened."

    def examine(self, mailbox):
        self.select(mailbox)
        return "[READ-ONLY] Mailbox opened."

    def fetch(self, numbers, items):
        if not self.selected:
            raise Bad("Select a mailbox first.")
        names = items.upper().strip("()").split()
        if names in (["ALL"], ["FAST"], ["FULL"]):
            names = ["FLAGS", "INTERNALDATE", "RFC822.SIZE"]
        unknown = [n for n in names if n not in ITEMS]
        if unknown or not names:
            raise Bad("I can fetch " + " ".join(ITEMS) + ".")
        for number in message_numbers(numbers):
            self.writer.write(b"* %d FETCH (" % number)
            self.writer.write(b" ".join(ITEMS[name](number) for name in names))
            self.writer.write(b")\r\n")
        return "Fetch completed."


def tokens_of(text):
    """The words of a command line: atoms, quoted strings, and lists as one word. None when it is malformed."""
    tokens = []
    position = 0
    pattern = re.compile(r'\s*(?:"((?:[^"\\]|\\["\\])*)"|(\([^()]*\))|([^\s"()]+))(?=\s|$)')
    while text[position:].strip():
        match = pattern.match(text, position)
        if not match:
            return None
        quoted, listed, atom = match.groups()
        tokens.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else listed or atom)
        position = match.end()
    return tokens


def message_numbers(text):
    """The messages that a sequence set such as `1,2:*` means, in order."""
    numbers = set()
    for part in text.split(","):
        ends = part.split(":")
        if len(ends) > 2 or not all(re.fullmatch(r"\*|[1-9]\d{0,9}", end) for end in ends):
            raise Bad("That is no set of message numbers.")
        values = [len(MESSAGES) if end == "*" else int(end) for end in ends]
        if max(values) > len(MESSAGES):
            raise Bad(f"There are {len(MESSAGES)} messages.")
        numbers.update(range(min(values), max(values) + 1))
    return sorted(numbers)


def literal(name, content):
    return b"%s {%d}\r\n%s" % (name, len(content), content)


def header(number):
    return MESSAGES[number - 1].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def body(number):
    return MESSAGES[number - 1].partition(b"\r\n\r\n")[2]


def whole(number):
    return MESSAGES[number - 1]


ITEMS = {
    "FLAGS": lambda n: b"FLAGS (\\Seen)",
    "UID": lambda n: b"UID %d" % n,
    "INTERNALDATE": lambda n: b'INTERNALDATE "%s"' % DATES[n - 1].encode("ascii"),
    "RFC822.SIZE": lambda n: b"RFC822.SIZE %d" % len(whole(n)),
    "RFC822": lambda n: literal(b"RFC822", whole(n)),
    "RFC822.HEADER": lambda n: literal(b"RFC822.HEADER", header(n)),
    "BODY[]": lambda n: literal(b"BODY[]", whole(n)),
    "BODY.PEEK[]": lambda n: literal(b"BODY[]", whole(n)),
    "BODY[HEADER]": lambda n: literal(b"BODY[HEADER]", header(n)),
    "BODY.PEEK[HEADER]": lambda n: literal(b"BODY[HEADER]", header(n)),
    "BODY[TEXT]": lambda n: literal(b"BODY[TEXT]", body(n)),
    "BODY.PEEK[TEXT]": lambda n: literal(b"BODY[TEXT]", body(n)),
}


async def serve_client(reader, writer):
    try:
        await Session(reader, writer).run()
    except ValueError:
        # The stream's limit: a line longer than any that belongs here.
        writer.write(b"* BYE That line is too long for me.\r\n")
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    except asyncio.CancelledError:
        # The server ends while this client is there; to end here says so without a complaint on stderr.
        pass
    finally:
        writer.close()


async def main():
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)

    def wait_for_end_of_input():
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(ended.set)

    # A thread, since the loop cannot wait for every kind of file that standard input may be.
    threading.Thread(target=wait_for_end_of_input, daemon=True).start()
    server = await asyncio.start_server(serve_client, "127.0.0.1", 0, limit=LINE_LIMIT)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
