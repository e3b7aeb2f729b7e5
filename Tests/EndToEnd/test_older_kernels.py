"""What newer kernels offer is done without on older ones: the relay must be just as exact then.

`URING_RAWLOG_WITHOUT` leaves features aside that this kernel may well have.
"""

import unittest

import test_relay


class _Without:
    features = ""

    def start(self, connect_to, *options, **keywords):
        keywords["env"] = {**keywords.get("env", {}), "URING_RAWLOG_WITHOUT": self.features}
        return super().start(connect_to, *options, **keywords)


class BytesWithoutBundles(_Without, test_relay.Bytes):
    features = "bundles"


class EndsWithoutBundles(_Without, test_relay.Ends):
    features = "bundles"


class BackpressureWithoutBundles(_Without, test_relay.Backpressure):
    features = "bundles"


class BytesWithoutMultishot(_Without, test_relay.Bytes):
    features = "bundles,multishot"


class EndsWithoutMultishot(_Without, test_relay.Ends):
    features = "bundles,multishot"


class ManySessionsWithoutMultishot(_Without, test_relay.ManySessions):
    features = "bundles,multishot"


if __name__ == "__main__":
    unittest.main()
