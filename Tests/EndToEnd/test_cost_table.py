"""The README's table of costs, which scripts/cost-table makes from a result."""

import os
import unittest

from benchmark_results import ResultScript
from relay import ROOT

BEGIN = "<!-- cost-table: made by scripts/cost-table, not by hand -->"
END = "<!-- cost-table ends -->"


class CostTable(ResultScript):
    SCRIPT = "cost-table"

    def table(self):
        code, output, errors = self.run_script(self.written())
        self.assertEqual((code, errors), (0, ""))
        return output

    def cells(self, workload):
        lines = [line for line in self.table().splitlines() if f"(`{workload}`)" in line]
        self.assertEqual(len(lines), 1)
        return [cell.strip() for cell in lines[0].strip("|").split("|")][1:]

    def test_rows(self):
        self.assertEqual(self.cells("bulk"),
                         ["0.250 ns", "0.450 ns", "1.81", "0.170 ns", "0.525 ns", "n/a", "n/a", "n/a"])
        self.assertEqual(self.cells("churn"),
                         ["77.10 µs", "121 µs", "1.57", "42.00 µs", "76.90 µs", "n/a", "686 µs", "3748 µs"])
        lines = self.table().splitlines()
        # As many cells in each line, and no row for a workload that was not measured.
        self.assertEqual({line.count("|") for line in lines if line.startswith("|")}, {10})
        self.assertNotIn("bulk16", "\n".join(lines))

    def test_machine_commit_and_command(self):
        output = self.table()
        for text in ("Made <Up> & Co, 4 cores, 8 GiB, x86_64, Linux 6.12.1, ext4", "2026-01-31", "uring-rawlog 9.9.9",
                     "commit 0123abc", "`uring-rawlog bench --peers`"):
            self.assertIn(text, output)
        self.assertNotIn("quick run", output)
        del self.result["commit"]
        self.assertIn("commit unknown", self.table())

    def test_what_is_no_figure_is_said(self):
        self.result["workloads"][0]["ratio"] = None
        self.result["workloads"][1]["repetitions"] = 5
        self.assertEqual(self.cells("bulk")[2], "not stable")
        self.assertIn("*Not stable*", self.table())
        self.assertIn("quick run", self.table())

    def test_write_and_check(self):
        result = self.written()
        readme = self.write("README.md", f"# Title\n\n{BEGIN}\n{END}\n\nThe end.\n")
        self.refused(1, "--check", result, readme, names=["README.md", "--write"])
        self.assertEqual(self.run_script("--write", result, readme), (0, "", ""))
        self.assertEqual(self.run_script("--check", result, readme), (0, "", ""))
        with open(readme, encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(text, f"# Title\n\n{BEGIN}\n\n{self.table()}\n{END}\n\nThe end.\n")
        # Writing it again changes nothing; a figure that was touched by hand is noticed.
        self.run_script("--write", result, readme)
        with open(readme, encoding="utf-8") as file:
            self.assertEqual(file.read(), text)
        self.write("README.md", text.replace("1.81", "1.01"))
        self.refused(1, "--check", result, readme)

    def test_errors(self):
        result = self.written()
        readme = self.write("README.md", f"{END}\n{BEGIN}\n")
        self.refused(65, "--write", result, readme, names=["README.md"])
        self.refused(65, "--check", result, self.write("none.md", "# Title\n"), names=["none.md"])
        self.refused(66, "--check", result, self.path("missing.md"), names=["missing.md"])
        self.refused(64, "--check", result, names=["--help"])
        self.refused(64, result, readme, names=["--help"])
        self.refuses_what_is_no_result()

    def test_the_readme_has_its_markers(self):
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
            text = file.read()
        self.assertEqual((text.count(BEGIN), text.count(END)), (1, 1))


if __name__ == "__main__":
    unittest.main()
