"""The charts that scripts/plot-benchmark draws."""

import os
import unittest
import xml.etree.ElementTree as ElementTree

from benchmark_results import ResultScript

SVG = "{http://www.w3.org/2000/svg}"


class Plot(ResultScript):
    SCRIPT = "plot-benchmark"

    def drawn(self, name):
        """The texts of a chart, which must be well-formed and in view."""
        root = ElementTree.parse(os.path.join(self.path("charts"), name)).getroot()
        self.assertEqual(root.tag, f"{SVG}svg")
        _, _, width, height = (float(value) for value in root.get("viewBox").split())
        ground = root.find(f"{SVG}rect")
        self.assertEqual((ground.get("fill"), float(ground.get("width")), float(ground.get("height"))),
                         ("#ffffff", width, height))
        for element in root.iter():
            for across, down in (("x", "y"), ("cx", "cy"), ("x1", "y1"), ("x2", "y2")):
                if element.get(across) is not None:
                    self.assertTrue(0 <= float(element.get(across)) <= width, ElementTree.tostring(element))
                    self.assertTrue(0 <= float(element.get(down)) <= height, ElementTree.tostring(element))
        return [element.text for element in root.iter(f"{SVG}text")]

    def plot(self):
        self.assertEqual(self.run_script(self.written(), self.path("charts")), (0, "", ""))
        self.assertEqual(sorted(os.listdir(self.path("charts"))),
                         ["cpu-per-session.svg", "overhead-by-message-size.svg"])
        return self.drawn("overhead-by-message-size.svg"), self.drawn("cpu-per-session.svg")

    def test_values_are_in_the_charts(self):
        overhead, sessions = self.plot()
        for text in ("64 B", "4 KiB", "64 KiB", "5.2 %", "15.0 %", "70.0 %", "250 ns", "900 ns", "14.0 µs", "31.4 ns",
                     "640 ns", "11.2 µs", "overhead of recording, %"):
            self.assertIn(text, overhead)
        for text in ("uring-rawlog, plain", "77.1 µs", "uring-rawlog, recorded", "121 µs",
                     "uring-rawlog, recorded on tmpfs", "88.8 µs", "nginx", "76.9 µs", "socat -r -R", "686 µs",
                     "Dovecot's rawlog", "3748 µs", "143 µs", "201 µs", "CPU time a session, µs (logarithmic)"):
            self.assertIn(text, sessions)
        for texts in (overhead, sessions):
            machine = [text for text in texts if "Made <Up> & Co" in text]
            self.assertEqual(len(machine), 1)
            for text in ("4 cores", "8 GiB", "Linux 6.12.1", "ext4", "uring-rawlog 9.9.9", "2026-01-31"):
                self.assertIn(text, machine[0])

    def test_recording_that_costs_nothing(self):
        # Within the noise a difference may be below nothing; a logarithmic axis must not fail on it.
        self.result["message_sizes"][0].update(recorded_cpu_ns=4990.0, ratio=0.998, floor_ns=0.0)
        overhead, _ = self.plot()
        self.assertIn("-0.2 %", overhead)
        self.assertIn("-10.0 ns", overhead)

    def test_one_size_and_no_peers(self):
        self.result.update(peers=[], message_sizes=self.result["message_sizes"][:1])
        del self.result["workloads"][-1]
        overhead, sessions = self.plot()
        self.assertIn("64 B", overhead)
        self.assertNotIn("nginx", sessions)

    def test_errors(self):
        self.refuses_what_is_no_result(self.path("charts"))
        self.assertFalse(os.path.exists(self.path("charts")))

    def test_what_is_missing_is_named(self):
        del self.result["message_sizes"]
        self.refused(65, self.written(), self.path("charts"), names=["message_sizes"])
        self.setUp()
        self.result["workloads"] = self.result["workloads"][:1]
        self.refused(65, self.written(), self.path("charts"), names=["churn", "mail"])
        self.setUp()
        del self.result["message_sizes"][0]["floor_ns"]
        self.refused(65, self.written(), self.path("charts"), names=["floor_ns"])

    def test_a_directory_that_cannot_be_made(self):
        blocked = self.write("file", "")
        self.refused(73, self.written(), os.path.join(blocked, "charts"), names=["charts"])


if __name__ == "__main__":
    unittest.main()
