"""The fuzz targets, for a few seconds each: that they build, and what they have found before stays found."""

import os
import re
import shutil
import subprocess
import unittest

from relay import ROOT


@unittest.skipUnless(shutil.which(os.environ.get("SWIFTC", "swiftc")), "needs swiftc")
class Fuzz(unittest.TestCase):
    def test_nothing_is_found_in_a_few_seconds(self):
        for target in ("dialogue", "starttls", "proxy"):
            with self.subTest(target):
                done = subprocess.run(["make", "fuzz", f"FUZZ_TARGETS={target}", "FUZZ_SECONDS=3"], cwd=ROOT,
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                                      timeout=600, check=False)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr[-5000:])
                runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
                corpus = len(os.listdir(os.path.join(ROOT, "Tests", "Fuzz", f"corpus-{target}")))
                self.assertTrue(runs and int(runs.group(1)) > corpus, done.stderr[-5000:])

    def test_readers(self):
        done = subprocess.run(["make", "fuzz-readers", "FUZZ_SECONDS=5", "FUZZ_OPTIMIZATION=-Onone"], cwd=ROOT,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              timeout=1200, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr[-5000:])
        runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        self.assertTrue(runs and int(runs.group(1)) > 2, done.stderr[-5000:])


if __name__ == "__main__":
    unittest.main()
