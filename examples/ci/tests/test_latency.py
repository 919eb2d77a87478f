"""The exported model is no slower than the accepted one."""

import os


def test_latency(edgeft_bench):
    edgeft_bench(os.environ.get("BUNDLE", "bundles/host"))
