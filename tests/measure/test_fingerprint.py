from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from edgeft.measure import fingerprint as prints

X86 = "processor\t: 0\nmodel name\t: Example CPU @ 2.0GHz\nflags\t\t: fpu avx2 avx512_vnni made_up\n"
PI = "processor\t: 0\nFeatures\t: fp asimd asimddp crc32\nCPU part\t: 0xd0b\n\nModel\t: Raspberry Pi 5\n"


def test_names_and_flags_of_both_worlds():
    assert prints.cpu_name(X86) == "Example CPU @ 2.0GHz" and prints.cpu_flags(X86) == {"avx2", "avx512_vnni"}
    assert prints.cpu_name(PI) == "Cortex-A76" and prints.cpu_flags(PI) == {"asimd", "asimddp"}
    assert prints.cpu_name("CPU part\t: 0xd42\nCPU part\t: 0xd42\nCPU part\t: 0xfff\n") == "Cortex-A78AE + 0xfff"


def test_the_whole_is_json_and_says_what_ran():
    found = prints.fingerprint(threads=2, runtime={"name": "litert", "version": "1"})
    assert json.loads(json.dumps(found)) == found
    assert found["threads"] == 2 and found["runtime"]["name"] == "litert" and found["kernel"] and found["python"]
    assert {"cpu", "flags", "governor", "isa"} <= set(found)


def test_differences_are_named():
    one, other = {"cpu": "a", "threads": 1}, {"cpu": "b", "threads": 1}
    assert prints.differences(one, other, ("cpu", "threads")) == ["cpu"]


@given(st.text())
def test_any_cpuinfo_is_survived(text):
    found = prints.fingerprint(cpuinfo=text)
    assert isinstance(found["flags"], list)
