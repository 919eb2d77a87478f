"""The page: well formed, offline, escaped, and it says what it must, with and without charts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
import report_values as values

from edgeft.core.metric import Metric
from edgeft.report import html, page, plots

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(HTMLParser):
    """Checks that tags nest, and collects text, ids and everything that could make a browser load something."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attrs:
            assert not key.startswith("on")
            if key == "id":
                self.ids.append(value or "")
            if key in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                self.links.append(value or "")
            self.links += re.findall(r"url\(([^)]*)\)", value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            assert "@import" not in data
            assert "url(" not in data
        else:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def read(source: str) -> Reader:
    reader = Reader(source)
    assert source.startswith("<!doctype html>")
    assert "script" not in reader.tags
    assert len(set(reader.ids)) == len(reader.ids)
    for link in reader.links:
        assert link.startswith(("data:image/png;base64,", "#")), link
        if link.startswith("#"):
            assert link[1:] in reader.ids
    source.encode("utf-8")
    return reader


@pytest.fixture(params=["charts", "tables"])
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Once with matplotlib where it is installed, once as on a machine that lacks it."""
    if request.param == "tables":
        monkeypatch.setattr(plots, "available", lambda: False)
    elif not plots.available():
        pytest.skip("matplotlib is not installed")
    return request.param == "charts"


def test_a_full_page_says_everything(drawn: bool) -> None:
    reader = read(html.render(values.report(), values.manifest(), values.summary(), values.extras()))
    assert ("svg" in reader.tags) is drawn
    for text in (
        "blood-cells on jetson-orin-nano",
        "97.14 %",
        "95.71 %",
        "96.67 %",
        "+0.48 points",
        "[-0.48, 1.43]",
        "0.82×",
        "11.3 MB",
        "3.94× smaller",
        "Worst class: Platelets",
        "Largest drop: Cells",
        "stem",
        "Pad",
        "avx512_vnni",
        "2.13.0",
        "symmetric-residual_branch",
        "a sentence",
        "1.8 G",
    ):
        assert text in reader.words, text
    assert reader.tags.count("img") == 2


def test_what_was_not_verified_comes_before_every_figure(drawn: bool) -> None:
    words = read(html.render(values.report(), values.manifest(), None, {})).words
    assert words.index("Not verified here") < words.index("why compatibility") < words.index("97.14 %")
    gates = words[words.index("Gates") :]
    assert gates.index("compatibility") < gates.index("accuracy") < gates.index("integer")


def test_every_string_stays_text(drawn: bool) -> None:
    report, manifest, summary, extras = values.hostile()
    source = html.render(report, manifest, summary, extras)
    reader = read(source)
    assert "<script" not in source
    assert "\x00" not in source
    assert "\x1b" not in source
    assert "<script>alert(1)</script>" in reader.words
    run = html.render_run({**summary, "name": values.HOSTILE}, extras["history"], values.HOSTILE)
    assert "<script" not in run
    assert "<script>alert(1)</script>" in read(run).words


@pytest.mark.parametrize("how", [values.unmeasured, values.endless, values.unknown, values.wrong])
def test_values_that_are_missing_or_not_finite_are_dashes(drawn: bool, how: Any) -> None:
    report, manifest, summary = (values.spoil(part(), how) for part in (values.report, values.manifest, values.summary))
    extras = {key: values.spoil(value, how) for key, value in values.extras().items() if key != "samples"}
    words = read(html.render(report, manifest, summary, extras)).words
    assert "–" in words
    assert not {"nan", "inf", "none"} & set(words.lower().replace(",", " ").split())
    read(html.render_run(summary, extras["history"], ""))


def test_an_empty_report_is_a_page() -> None:
    words = read(html.render({}, {}, None, None)).words
    assert "Nothing was measured" in words
    read(html.render_run({}))


def test_no_samples_and_no_classes_leave_their_boxes_out(drawn: bool) -> None:
    extras = {**values.extras(), "samples": [], "per_class": {}, "history": [], "layer_error": []}
    report = {**values.report(), "worst_class": None, "worst_class_float": None, "largest_drop": None}
    words = read(html.render(report, values.manifest(), None, extras)).words
    for title in ("Samples", "Per class", "Training", "Quantization error"):
        assert title not in words


def test_a_sample_whose_decisions_differ_is_framed() -> None:
    source = html.render(values.report(), values.manifest(), None, {"samples": values.extras()["samples"]})
    assert source.count('class="sample differ"') == 1
    assert source.count('class="wrong">WBC<') == 1


def test_details_of_the_report_stand_in_for_extras() -> None:
    report = {**values.report(), "details": {"layer_error": [{"name": "the stem", "sqnr_db": 12.0}]}}
    assert "the stem" in read(html.render(report, values.manifest())).words
    given = {"layer_error": [{"name": "another", "sqnr_db": 12.0}]}
    assert "the stem" not in read(html.render(report, values.manifest(), None, given)).words


def test_what_report_and_manifest_keep_makes_the_page_again() -> None:
    report = {**values.report(), "per_class": {"Basophil": {"float": 0.9, "quantized": 0.8, "n": 7}}}
    report["int8"] = {"share": 0.98, "float_ops": {"HardSwish": 4}}
    manifest = values.manifest()
    manifest["provenance"]["run"] = {"float": 0.9714, "ptq": 0.9501, "quantized": 0.9667}
    words = read(html.render(report, manifest, None, {"latency_samples": None})).words
    for text in ("Basophil", "HardSwish", "95.01 %", "median" if plots.available() else "p95"):
        assert text in words, text


def test_several_parts_share_a_page_without_sharing_ids(drawn: bool) -> None:
    part = html.bundle_part(values.report(), values.manifest(), values.summary(), values.extras())
    other = html.bundle_part({**values.report(), "target": "rpi5"}, values.manifest(), None, values.extras())
    run = html.run_part(values.summary(), values.history(), "task = 'classify'")
    reader = read(html.document([part, other, run]))
    assert reader.words.index("Overview") < reader.words.index("not exported") < reader.words.index("Gates")
    assert {"#part0", "#part1", "#part2"} <= set(reader.links)


def test_the_same_values_give_the_same_bytes() -> None:
    first = html.render(values.report(), values.manifest(), values.summary(), values.extras())
    assert first == html.render(values.report(), values.manifest(), values.summary(), values.extras())


def test_a_run_shows_its_rows_schemes_and_recipe(drawn: bool) -> None:
    words = read(html.render_run(values.summary(), values.history(), 'task = "classify"')).words
    for text in ("97.14 %", "95.71 %", "affine", "11,177,000", "734 MB", "3 min 04 s", 'task = "classify"', "Training"):
        assert text in words, text


def test_a_drop_counts_the_other_way_where_lower_is_better() -> None:
    record = Metric("mae", higher_is_better=False).as_dict()
    summary = {**values.summary(), "metric": "mae", "metric_record": record, "float": 2.0, "quantized": 2.5}
    assert "drop +0.5" in read(html.render_run(summary)).words


def test_an_element_takes_text_as_text() -> None:
    element = page.el("p", "a<b", page.el("b", "&"), "\x00tail", title='"><i>')
    assert page.ET.tostring(element, encoding="unicode", method="html") == (
        '<p title="&quot;&gt;<i&gt;">a&lt;b<b>&amp;</b>\N{REPLACEMENT CHARACTER}tail</p>'
    )


def test_flipped_and_worst_samples_have_cards_of_their_own() -> None:
    extras = values.extras()
    first, second, text = extras["samples"]
    extras["samples"] = [
        {**text, "group": "worst", "source": "b.txt"},
        {**first, "group": "flipped", "source": "a.png"},
        second,
    ]
    words = read(html.render(values.report(), values.manifest(), None, extras)).words
    places = [
        words.index(text) for text in ("Flipped decisions", "a.png", "Worst samples", "b.txt", "Samples The label")
    ]
    assert places == sorted(places)
    assert "int8 does worst on" in words


def test_a_page_without_their_pictures_lists_the_worst_samples() -> None:
    row = {"group": "worst", "position": 3, "source": "c.png", "label": "RBC", "float": "RBC", "quantized": "WBC"}
    report = {**values.report(), "details": {"worst": [row, {**row, "group": "flipped", "source": None}]}}
    words = read(html.render(report, values.manifest(), None, {})).words
    listed = words[words.index("Worst samples and flipped decisions") :]
    assert "Worst samples c.png RBC RBC WBC" in listed and "Flipped decisions test sample 3 RBC RBC WBC" in listed


def test_the_page_names_the_tool_that_shows_the_graph() -> None:
    manifest = {**values.manifest(), "graphs": [{"name": "main", "file": "model.onnx"}]}
    assert "netron model.onnx" in read(html.render(values.report(), manifest, None, {})).words
    assert "netron" not in read(html.render(values.report(), values.manifest(), None, {})).words


def test_a_confusion_is_shaded_by_its_share_of_the_row() -> None:
    source = html.render(values.report(), values.manifest(), None, values.extras())
    assert "--share:0.986;--shade:var(--quantized)" in source  # 69 of 70
    assert "--share:0.048;--shade:var(--bad)" in source  # 3 of 63


def test_the_printed_form_is_light_and_cuts_nothing_off() -> None:
    source = html.render(values.report(), values.manifest(), None, values.extras())
    printed = source[source.index("@media print") : source.index("</style>")]
    assert source.index("prefers-color-scheme:dark") < source.index("@media print"), "the later rule counts"
    for rule in ("--bg:#f6f7f9", "overflow:visible", "break-inside:avoid", "details-content"):
        assert rule in printed


def test_samples_that_are_words_have_wider_cards() -> None:
    samples = values.extras()["samples"]
    for chosen, is_wide in ((samples, False), (samples[2:], True)):
        source = html.render(values.report(), values.manifest(), None, {**values.extras(), "samples": chosen})
        assert ('class="samples wider"' in source) is is_wide


def test_the_card_of_the_compiler_says_what_stays_on_the_cpu_and_what_the_simulator_found():
    table = {
        "name": "rknn",
        "version": "2.5.0",
        "accepted": True,
        "coverage_ops": 0.9,
        "coverage_macs": 0.97,
        "fallback": ["Reshape (2)"],
        "estimate": {"cycles": 1200.0, "dram_bytes": 4096.0},
        "simulated": {"metric": 0.9125, "drop": 0.0125, "ci95": [0.0, 0.02], "n": 120},
    }
    shown = read(html.render(values.report() | {"compiler": table}, values.manifest(), values.summary(), {})).words
    for part in ("rknn 2.5.0", "97.00 % of the MACs", "on the CPU: Reshape (2)", "1,200 cycles", "120 samples", "91.2"):
        assert part in shown, part

    refused = {"name": "qnn", "version": "2.7.0", "accepted": False, "refusal": "Pad at 'border': error 3110"}
    shown = read(html.render(values.report() | {"compiler": refused}, values.manifest(), values.summary(), {})).words
    assert "refused" in shown and "Pad at 'border': error 3110" in shown
