"""The modules of the package form no import cycle; imports inside of functions count too."""

from __future__ import annotations

import graphlib

import pytest

grimp = pytest.importorskip("grimp", reason="the import graph is built by grimp, which import-linter brings")


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph("edgeft")
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
