"""Annotate: decide by rules which values of a captured graph are quantized and who shares parameters.

Nothing is inserted here; the result is a plan (`Annotation`) that `graph.prepare` carries out. The plan follows three
ideas: a weighted op is always worth int8; an op without weights is quantized only inside an integer region (all its
inputs come from quantized values and all its readers are quantized, so nothing is converted back and forth around a
LayerNorm); an op that only moves values shares its input's parameters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import fx

from ..config.formats import int8
from ..config.numeric import Numeric
from ..config.scheme import Scheme
from ..graph.data_free import without_data
from .layers import ValueOf, held_in_float, value_of
from .rules import Rule, is_float, rule_of, weight_axis, weighted_class
from .tables import TABLE, is_table


@dataclass(eq=False)
class Site:
    """A value that gets a fake-quantize. `users` None = every reader of `node`, else only these."""

    node: fx.Node
    users: list[fx.Node] | None = None
    produces: bool = True  # False where the op only moves values (its range is its input's)
    fixed: tuple[float, int] | None = None
    ceiling: float | None = None
    after: Site | None = None  # a requantization behind another site


@dataclass(eq=False)
class WeightSite:
    """A quantized weight: the `get_attr` node, its output-channel axis (of a table: the rows), None for one scale."""

    node: fx.Node
    user: fx.Node
    axis: int | None
    op_class: str
    numeric: Numeric

    @property
    def is_table(self) -> bool:
        return self.op_class == TABLE


@dataclass
class Annotation:
    groups: list[list[Site]]
    values: list[ValueOf]  # of each group
    weights: list[WeightSite]
    selected: dict[fx.Node, None]  # an ordered set
    float_ops: Counter[str] = field(default_factory=Counter)
    op_classes: Counter[str] = field(default_factory=Counter)


def annotate(graph: fx.Graph, scheme: Scheme, keep_float: Sequence[str] = ()) -> Annotation:
    """The plan for one graph and one scheme. Raises `RecipeError` for a `keep_float` pattern that holds no layer."""
    rules = {node: rule for node in graph.nodes if (rule := rule_of(node)) is not None and _is_float_value(node)}
    lookups = [node for node in graph.nodes if is_table(node)]
    float_nodes = held_in_float([*rules, *lookups], keep_float)
    tables = [node for node in lookups if scheme.tables is not None and node not in float_nodes]
    selected = _select(graph, rules, scheme, float_nodes)
    tails = _fused_tails(selected, rules)
    sites = _Sites(selected, rules, tails, scheme)

    for node in graph.nodes:
        if node in selected and node not in tails.values():
            sites.place(node)

    groups = sites.group()
    floats = Counter(
        n.target._schema.name.split("::")[-1]
        if hasattr(n.target, "_schema")
        else getattr(n.target, "__name__", str(n.target))
        for n in graph.nodes
        if n.op == "call_function" and n not in selected and _is_float_value(n) and not _only_moves(n, rules)
        if n not in tables
    )

    return Annotation(
        groups=groups,
        values=[_value_of(group) for group in groups],
        weights=[
            *(_weight_site(n, scheme) for n in selected if rules[n].kind == "weighted"),
            *(_table_site(n, scheme) for n in tables),
        ],
        selected=selected,
        float_ops=floats,
        op_classes=Counter([*(rules[n].op_class for n in selected), *(TABLE for _ in tables)]),
    )


def _value_of(group: Sequence[Site]) -> ValueOf:
    first = [site for site in group if site.produces] or group
    readers = [user for site in first for user in (site.node.users if site.users is None else site.users)]
    return value_of([site.node for site in first], readers)


def _is_float_value(node: fx.Node) -> bool:
    value = node.meta.get("val")
    if isinstance(value, (tuple, list)):
        return bool(value) and hasattr(value[0], "is_floating_point") and value[0].is_floating_point()
    return is_float(node)


def _only_moves(node: fx.Node, rules: dict[fx.Node, Rule]) -> bool:
    return node in rules and rules[node].kind == "share"


def _activations(node: fx.Node, rule: Rule) -> list[fx.Node]:
    """The activation inputs of a node (not weight, bias or slope)."""
    if rule.kind == "weighted" or rule.kind != "combine":
        first = node.args[0]
        inputs = list(first) if isinstance(first, (list, tuple)) else [first]
    else:
        inputs = list(node.args[:2])

    return [n for n in inputs if isinstance(n, fx.Node)]


def _select(
    graph: fx.Graph, rules: dict[fx.Node, Rule], scheme: Scheme, float_nodes: set[fx.Node]
) -> dict[fx.Node, None]:
    """Ordered set of the nodes to quantize: shrink from all candidates until every one stands in an integer region."""
    constant = without_data(graph)  # runtimes compute it once, and some do not load integer layers of it
    chosen = {
        n: None
        for n, r in rules.items()
        if r.op_class in scheme.ops
        and (not scheme.is_integer or scheme.activations.bits <= r.most_bits)
        and n not in float_nodes
        and not (r.kind == "weighted" and n in constant)
        and (r.kind != "weighted" or (isinstance(n.args[1], fx.Node) and n.args[1].op == "get_attr"))
    }

    def available(value: fx.Node) -> bool:
        return value in chosen or value.op in ("placeholder", "get_attr")

    # One that leaves can only make its neighbours leave: each is looked at again, not the whole graph.
    waiting = dict.fromkeys(chosen)
    while waiting:
        node = next(iter(waiting))
        del waiting[node]
        rule = rules[node]
        if node not in chosen or rule.kind == "weighted":
            continue

        inputs_ok = all(available(a) and _is_float_value(a) for a in _activations(node, rule))
        readers = [u for u in node.users if u.op != "output" and _is_float_value(u)]
        if not inputs_ok or not all(u in chosen for u in readers):
            del chosen[node]
            waiting.update(dict.fromkeys(n for n in (*node.all_input_nodes, *node.users) if n in chosen))

    # an island of moves alone (input -> reshape -> float op) gains nothing
    if not any(rules[n].kind not in ("share", "fuse") for n in chosen):
        return {}

    return chosen


def _fused_tails(selected: dict[fx.Node, None], rules: dict[fx.Node, Rule]) -> dict[fx.Node, fx.Node]:
    """op -> the clamp that melts into it."""
    tails = {}
    for node in selected:
        if rules[node].kind in ("weighted", "combine") and len(node.users) == 1:
            user = next(iter(node.users))
            if user in selected and rules[user].kind == "fuse":
                tails[node] = user

    return tails


class _Sites:
    """Sites while they are being placed: by value for quantized producers, by edge for float ones."""

    def __init__(
        self,
        selected: dict[fx.Node, None],
        rules: dict[fx.Node, Rule],
        tails: dict[fx.Node, fx.Node],
        scheme: Scheme,
    ) -> None:
        self.selected, self.rules, self.tails, self.scheme = selected, rules, tails, scheme
        self.by_value: dict[fx.Node, Site] = {}
        self.by_edge: dict[fx.Node, Site] = {}
        self.bare: set[fx.Node] = set()  # deliberately unquantized (fuses with the add behind it)
        self.extra: list[Site] = []
        self.shares: list[tuple[fx.Node, list[Site], Site]] = []

    def read(self, value: fx.Node, user: fx.Node) -> Site | None:
        """The site that `user` reads `value` through, made on demand where a float op produced it."""
        if value in self.by_value:
            return self.by_value[value]
        if value in self.bare:
            return None

        site = self.by_edge.setdefault(value, Site(value, users=[]))
        assert site.users is not None

        if user not in site.users:
            site.users.append(user)

        return site

    def place(self, node: fx.Node) -> None:
        rule = self.rules[node]
        inputs = [s for a in _activations(node, rule) if (s := self.read(a, node)) is not None]
        value = self.tails.get(node, node)

        if isinstance(node.meta.get("val"), (tuple, list)):  # a split: its getitems carry the sites
            self.by_value[node] = inputs[0]
            return

        if (
            self.scheme.residual == "branch"
            and rule.kind == "weighted"
            and value is node
            and self._fuses_with_add(node)
        ):
            self.bare.add(node)
            return

        site = Site(value, produces=rule.kind != "share")
        if rule.kind == "fixed":
            site.fixed = self.scheme.activations.prescribed(*rule.values)

        last = self.rules[value]
        site.ceiling = last.ceiling if last.kind == "fuse" else None
        self.by_value[value] = site

        if rule.kind == "share" and inputs:
            self.shares.append((node, inputs, site))

    def _fuses_with_add(self, node: fx.Node) -> bool:
        """Is this the operand of an add that a compiler fuses with? Only one operand of each add is."""
        if len(node.users) != 1:
            return False

        user = next(iter(node.users))
        if user not in self.selected or self.rules[user].op_class != "add":
            return False

        return not any(a in self.bare for a in _activations(user, self.rules[user]) if a is not node)

    def group(self) -> list[list[Site]]:
        """Sites that must have equal parameters, in graph order. A fixed input of a concat is requantized.

        A ceiling (relu6) is no such constraint: it only spares the runtime a clamp, which the exporters can keep in
        integers, and LiteRT's converter refuses a requantization between a convolution and a concat.
        """
        parent: dict[Site, Site] = {}

        def find(site: Site) -> Site:
            while parent.get(site, site) is not site:
                site = parent[site]
            return site

        def join(a: Site, b: Site) -> None:
            parent[find(b)] = find(a)

        single = [s for s in self.shares if len(s[1]) == 1]
        several = [s for s in self.shares if len(s[1]) > 1]

        for _, inputs, output in single:
            join(inputs[0], output)

        constraint = {find(s): s for s in self.by_value.values() if s.fixed}
        for node, inputs, output in several:
            bounds = [constraint.get(find(i)) for i in inputs]
            kinds = {b.fixed if b else None for b in bounds}
            for site in dict.fromkeys(inputs):
                if len(kinds) > 1 and find(site) in constraint:
                    again = Site(site.node, users=[node], after=site, produces=False)
                    self.extra.append(again)
                    site = again
                join(output, site)

            if len(kinds) == 1 and bounds[0] is not None:  # the joined group has a new root
                constraint[find(output)] = bounds[0]

        groups: dict[Site, list[Site]] = {}
        for site in [*self.by_edge.values(), *dict.fromkeys(self.by_value.values()), *self.extra]:
            groups.setdefault(find(site), []).append(site)

        return list(groups.values())


def _table_site(node: fx.Node, scheme: Scheme) -> WeightSite:
    """The scales of a linear layer, whose weight it may be too (a decoder's last layer often is its table)."""
    table = node.args[0]
    assert isinstance(table, fx.Node) and scheme.tables is not None
    return WeightSite(table, node, None if scheme.tables.granularity == "tensor" else 0, TABLE, scheme.tables)


def _weight_site(node: fx.Node, scheme: Scheme) -> WeightSite:
    op_class = weighted_class(node)
    weight, numeric = node.args[1], scheme.weights[op_class]
    assert isinstance(weight, fx.Node)

    if numeric.granularity == "group":
        whole = weight.meta["val"].shape[-1] % numeric.group == 0
        # rows that groups do not divide, or that are looked up one by one, have one scale
        numeric = numeric if whole and not any(map(is_table, weight.users)) else int8.weights()

    axis = None if numeric.granularity == "tensor" else weight_axis(node)
    return WeightSite(weight, node, axis, op_class, numeric)
