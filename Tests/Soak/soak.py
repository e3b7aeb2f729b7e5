"""Sessions of all kinds through several relays while everything around these goes wrong; in the end it must all add up.

Prints the ledger and exits with 1 when a line of it does not add up."""

import argparse
import json
import os
import platform
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "EndToEnd"))

import accounts
import ledger
from faults import Faults
from plans import Text, plan
from recordings import Batches, Comparison, IndexReader, compare_captures, compare_collected
from relay import run, wait_until
from stage import Stage

CLIENT_PROCESSES = 3
ENDING_SECONDS = 170  # longer than any session waits before it gives up
QUIET_SECONDS = 11  # unused staging memory is given back after five to ten


class Samples:
    """Descriptors and memory of the relays: at the start, at most, at the end."""

    def __init__(self, relays):
        self._relays = relays
        self.start = {name: self.now(name) for name in relays}
        self.peak = dict(self.start)
        self.end = dict(self.start)

    def now(self, name):
        """Descriptors, and private memory in KiB."""
        relay = self._relays[name]
        with open(f"/proc/{relay.pid}/status", encoding="ascii") as file:
            anonymous = next(int(line.split()[1]) for line in file if line.startswith("RssAnon:"))
        return relay.descriptors(), anonymous

    def take(self):
        for name in self._relays:
            self.end[name] = self.now(name)
            self.peak[name] = tuple(map(max, self.peak[name], self.end[name]))


class Soak:
    def __init__(self, stage, arguments):
        self.stage = stage
        self.arguments = arguments
        self.clients = accounts.Accounts(stage.path("clients"))
        self.servers = accounts.Accounts(stage.path("servers"))
        self.comparison = Comparison(Text(stage.seed), stage.path("mailboxes"))
        self.indexes = {name: IndexReader(relay.index_path) for name, relay in stage.relays.items()}
        self.samples = Samples(stage.relays)
        self.batches = {}
        for name in ("pair", "tls", "mail"):
            if name in stage.relays:
                self.batches[name] = Batches(
                    name, stage.places[name], self.indexes[name], self.comparison, self.clients,
                    layout="merged" if name == "mail" else "pair", stamps=name == "tls")
        self.lines = []
        self.result = {}

    def run(self):
        begun = time.monotonic()
        self.stage.start_clients(CLIENT_PROCESSES)
        self.faults = Faults(self.stage, self.stage.seed, self.arguments.pause)
        self.faults.start()
        batch = said = begun
        while (now := time.monotonic()) - begun < self.arguments.seconds:
            time.sleep(1)
            self.samples.take()
            self.poll()
            if now - batch > 10:
                batch = now
                self.take_batches()
            if now - said > 60:
                said = now
                self.say(f"{int(now - begun)} s: {self.count()} sessions, {len(self.faults.done)} faults")
        self.faults.stop()
        stuck = self.stage.stop_clients(ENDING_SECONDS)
        wrong = [f"process {pid} did not" for pid in stuck]
        self.lines.append(ledger.Line("clients", "all ended by themselves", wrong))
        self.finish()
        return time.monotonic() - begun

    @staticmethod
    def say(text):
        print(text, file=sys.stderr, flush=True)

    def count(self):
        return sum(len(index.ends) for index in self.indexes.values())

    def poll(self):
        for name, index in self.indexes.items():
            ended = index.poll()
            if name in self.batches:
                self.batches[name].add(ended)

    def take_batches(self, everything=False):
        for name, batches in self.batches.items():
            lock = self.faults.lock(f"place {name}")
            if lock.acquire(blocking=everything):
                try:
                    batches.take(everything)
                finally:
                    lock.release()

    def finish(self):
        """Waits until nothing is left, looks at what the relays hold then, ends them, and reads the rest."""
        def settled():
            self.poll()
            return all(len(index.starts) == len(index.ends) for index in self.indexes.values())
        try:
            wait_until(settled, 60, "the last sessions to end")
        except AssertionError as error:
            self.lines.append(ledger.Line("sessions", "all ended by themselves", [str(error), *self._left()]))
        time.sleep(QUIET_SECONDS)
        self.samples.take()
        for name, relay in self.stage.relays.items():
            code = relay.terminate()
            self.lines.append(ledger.ending_line(name, code, relay.lines))
        self.poll()
        self.take_batches(everything=True)
        for index in self.indexes.values():
            index.close()
        self.stage.end_processes()
        findings = [line for batches in self.batches.values() for line in batches.findings]
        findings += compare_captures(self.stage.places["captures"].directory, self.indexes["captures"], self.comparison,
                                     self.stage.path("exported"))
        compare_collected(self.stage.path("collected"), self.indexes["collector"], self.comparison)
        self.lines.append(ledger.Line("uring-rawlog verify", "every recording is as the index says", findings))

    def _left(self):
        """The sessions that have not ended, and what their clients and servers say."""
        for name, index in self.indexes.items():
            for number in sorted(set(index.starts) - set(index.ends)):
                kind = "imap" if name == "mail" else plan(self.stage.seed, number, name == "tls").kind
                sides = (accounts.STATES[side[number].state] for side in (self.clients, self.servers))
                yield f"{name}, session {number} ({index.starts[number]}): {kind}, " + ", ".join(sides)

    def reconcile(self):
        numbers = {name: [] for name in self.stage.relays}
        kinds = {}
        for number in range(1, self.stage.numbers):
            if self.clients[number].state != accounts.NONE:
                name = self.stage.listing[number % len(self.stage.listing)]
                numbers[name].append(number)
                kind = "imap" if name == "mail" else plan(self.stage.seed, number, name == "tls").kind
                fates = kinds.setdefault(kind, {})
                fate = accounts.STATES[self.clients[number].state]
                fates[fate] = fates.get(fate, 0) + 1
        relays = {}
        for name, index in self.indexes.items():
            relays[name] = self._reconcile(ledger.RelayAccount(name, numbers[name], index,
                                                               "imap" if name == "mail" else "raw"))
        self.result.update(kinds=kinds, relays=relays, faults=self._faults(), left_out=self.stage.left_out,
                           lines=[{"name": l.name, "says": l.says, "wrong": l.wrong} for l in self.lines])
        return not any(line.wrong for line in self.lines)

    def _reconcile(self, relay):
        done = self.faults.done
        byte_line, sums = ledger.byte_line(relay, self.clients, self.servers)
        recording_line, fates, recorded = ledger.recording_line(relay, done)
        samples = [getattr(self.samples, when)[relay.name] for when in ("start", "peak", "end")]
        # A capture that is being written to stays open, and so does its side file.
        open_files = 2 if relay.name == "captures" else 0
        self.lines += [
            ledger.session_lines(relay, self.clients), byte_line, ledger.stuck_line(relay, self.clients, self.servers),
            recording_line, ledger.content_line(relay, done), ledger.torn_line(relay, done),
            ledger.growth_line(relay.name, "descriptors", "open", [s[0] for s in samples], open_files),
            ledger.growth_line(relay.name, "memory", "KiB", [s[1] for s in samples], self.arguments.memory_kib)]
        reasons = {}
        for end in relay.index.ends.values():
            reasons[end.reason] = reasons.get(end.reason, 0) + 1
        return {"sessions": len(relay.index.ends), "reasons": reasons, "recordings": fates, "bytes": sums,
                "recorded": recorded, "descriptors": [s[0] for s in samples], "memory_kib": [s[1] for s in samples],
                "command": self.stage.relays[relay.name].command[1:]}

    def _faults(self):
        counts = {}
        for fault in self.faults.done:
            counts[fault.name] = counts.get(fault.name, 0) + 1
        return counts

    def text(self):
        result = self.result
        lines = [f"soak: {result['seconds']} s, seed {result['seed']}, {result['program']}, kernel {result['kernel']}",
                 "", "sessions, as their clients saw them:"]
        for kind, fates in sorted(result["kinds"].items()):
            lines.append(f"  {kind:10} {sum(fates.values()):7}  "
                         + ", ".join(f"{n} {f}" for f, n in sorted(fates.items())))
        lines += ["", "how they ended, as the relays saw it:"]
        for name, relay in result["relays"].items():
            lines.append(f"  {name:10} {relay['sessions']:7}  "
                         + ", ".join(f"{n} {f}" for f, n in sorted(relay["reasons"].items())))
        lines += ["", "faults:", "  " + ", ".join(f"{n} {f}" for f, n in sorted(result["faults"].items()))]
        lines += [f"  left out: {reason}" for reason in result["left_out"]]
        lines += ["", "ledger:", *(line.text() for line in self.lines)]
        wrong = [line.name for line in self.lines if line.wrong]
        lines += ["", "it does not add up: " + "; ".join(wrong) if wrong else "it adds up"]
        return "\n".join(lines)


def parsed():
    parser = argparse.ArgumentParser(prog="soak", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600, help="how long sessions begin (600)")
    parser.add_argument("--seed", type=int, help="what is drawn comes from it; the kernel's timing does not (random)")
    parser.add_argument("--rate", type=float, default=25, help="sessions that begin in a second (25)")
    parser.add_argument("--pause", type=float, default=3, help="seconds between faults, about (3)")
    parser.add_argument("--memory-kib", type=int, default=16384,
                        help="what a relay may have grown by in the end (16384)")
    parser.add_argument("--dir", default="/tmp", help="where captures are written (/tmp)")
    parser.add_argument("--output", help="write the ledger to this file, .txt and .json")
    return parser.parse_args()


def main():
    arguments = parsed()
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 30)
    with Stage(seed, arguments.dir, arguments.rate) as stage:
        soak = Soak(stage, arguments)
        soak.say(f"seed {seed}, in {stage.work} and {stage.captures}")
        seconds = soak.run()
        soak.result = {"seed": seed, "seconds": round(seconds), "rate": arguments.rate, "kernel": platform.release(),
                       "cores": os.cpu_count(), "program": run("--version")[1].strip(),
                       "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        adds_up = soak.reconcile()
        soak.result["adds_up"] = adds_up
        text = soak.text()
        print(text)
        if arguments.output:
            with open(arguments.output + ".txt", "w", encoding="utf-8") as file:
                file.write(text + "\n")
            with open(arguments.output + ".json", "w", encoding="utf-8") as file:
                json.dump(soak.result, file, indent=1)
                file.write("\n")
    return 0 if adds_up else 1


if __name__ == "__main__":
    sys.exit(main())
