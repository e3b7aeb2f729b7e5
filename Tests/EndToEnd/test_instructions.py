"""What the relay's work costs in instructions, against the budgets in instruction-budgets.json."""

import json
import os
import platform
import subprocess
import tempfile
import unittest

from relay import PROGRAM, ROOT, run

SCRIPT = os.path.join(ROOT, "scripts", "count-instructions")
BUDGETS = os.path.join(ROOT, "Tests", "EndToEnd", "instruction-budgets.json")
MEASUREMENTS = ("encoder-plain", "encoder-t", "encoder-bt", "scanner-imap", "scanner-pop3", "scanner-smtp",
                "scanner-lmtp", "scanner-sieve", "message-plain", "message-recorded", "message-recorded-t",
                "session-plain", "session-recorded", "packet-captured", "payload-captured")


def count(*arguments):
    """Runs the script: exit code, standard output, standard error."""
    done = subprocess.run([SCRIPT, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900,
                          env={**os.environ, "URING_RAWLOG": PROGRAM}, check=False)
    return done.returncode, done.stdout, done.stderr


def figures(output):
    return {fields[0]: float(fields[1]) for fields in map(str.split, output.splitlines()[1:])}


with open(BUDGETS, encoding="utf-8") as _file:
    COMMITTED = json.load(_file)


@unittest.skipUnless(platform.machine() == COMMITTED["toolchain"]["machine"], "the budgets are for other machines")
class Budgets(unittest.TestCase):
    def changed(self, name, factor):
        """A file of budgets in which one is another."""
        budgets = json.loads(json.dumps(COMMITTED))
        budgets["measurements"][name]["budget"] *= factor
        file = tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8")
        self.addCleanup(file.close)
        json.dump(budgets, file)
        file.flush()
        return file.name

    def test_all_within_budgets(self):
        code, output, errors = count()
        self.assertEqual(code, 0, errors + output)
        self.assertEqual(sorted(figures(output)), sorted(MEASUREMENTS))

    def test_every_budget_is_of_a_measurement(self):
        self.assertEqual(sorted(COMMITTED["measurements"]), sorted(MEASUREMENTS))

    def test_too_many_instructions_fail(self):
        code, _, errors = count("--budgets", self.changed("encoder-t", 0.9), "encoder-t")
        self.assertEqual(code, 1)
        for part in ("encoder-t", "instructions a byte", "the budget is", "--profile encoder-t"):
            self.assertIn(part, errors)

    def test_a_budget_far_above_fails(self):
        code, _, errors = count("--budgets", self.changed("encoder-t", 1.3), "encoder-t")
        self.assertEqual(code, 1)
        for part in ("encoder-t", "lower the budget", "--set-budgets"):
            self.assertIn(part, errors)

    def test_profile_names_functions_and_lines(self):
        code, output, errors = count("--profile", "encoder-t", "--top", "5")
        self.assertEqual(code, 0, errors)
        alone, whole, lines = output.split("\n\n")[1:]
        self.assertIn("EncoderRehearsal.encode(Int)", alone)
        self.assertIn("memchr", whole)
        self.assertIn("UringRawlog/Recording/Encoder.swift:", lines)

    def test_counts_repeat(self):
        once, again = (figures(count("session-recorded")[1])["session-recorded"] for _ in range(2))
        self.assertAlmostEqual(once / again, 1, delta=0.001)


class Rehearse(unittest.TestCase):
    def test_says_what_was_done(self):
        code, output, errors = run("rehearse", "session-recorded", "7")
        self.assertEqual((code, errors), (0, ""))
        self.assertEqual(output, "session-recorded: 7 sessions, 35 messages, 2240 bytes relayed, 2240 recorded, "
                                 "14 lines in the index\n")

    def test_wrong_values_are_refused(self):
        for arguments, parts in ((("nothing", "1"), ("nothing", "message-plain")), (("encoder-t", "0"), ("'0'",)),
                                 (("encoder-t", "many"), ("'many'",)), (("encoder-t",), ("count",)),
                                 ((), ("name",))):
            with self.subTest(arguments=arguments):
                code, output, errors = run("rehearse", *arguments)
                self.assertEqual((code, output, len(errors.splitlines())), (64, "", 1), errors)
                for part in parts:
                    self.assertIn(part, errors)

    def test_is_not_in_the_help(self):
        self.assertNotIn("rehearse", run("--help")[1])


if __name__ == "__main__":
    unittest.main()
