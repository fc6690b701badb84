"""Trees at the speed of the bid service, and the same to the last bit as LightGBM's own.

The trees are read from the verified text into arrays, which one small piece of machine code walks (`ml.serving.trees_kernel`). No code is
made of a model, so that loading one takes as long as reading it. Whether the arrays say what LightGBM says is shown on load, on
rows made to find a difference; where one is found, or nothing can be compiled here, LightGBM itself serves. How this was chosen:
decision 14.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ml.models.lightgbm_text import TextModel
from ml.models.numbers import Floats, Ints
from ml.serving.trees_kernel import LANES, MOST_VECTORS, kernel

if TYPE_CHECKING:
    from ml.serving.trees_kernel import Kernel

_LOG = logging.getLogger(__name__)

MOST_LEAVES = 64
PROOF_ROWS = 2048
_ZERO = 1.0000000180025095e-35
"""LightGBM takes what is as near to 0 as this for 0."""

_FAR = 1e300
_LARGEST = float(np.finfo(np.float64).max)
_WIDE = LANES * MOST_VECTORS
_CATEGORY, _DEFAULT_LEFT = 1, 2
_MISSING_IS_ZERO, _MISSING_IS_NAN = 1, 2


class NotSupported(Exception):
    """The text holds trees of a kind that the arrays cannot say."""


def fastest(model: TextModel, *, seed: int = 0) -> Callable[[Floats], Floats]:
    """The fastest way to the margin of these trees that is shown to be the same as LightGBM's.

    Args:
        model: text that was verified.
        seed: of the rows that it is shown on.

    Returns:
        A function from a matrix of shape (n, k) to log-odds of shape (n,): `Forest.margin`, or LightGBM's own, with a warning that
        says why.
    """
    try:
        forest = Forest.read(model.text)
        rows = proof_rows(forest, seed=seed)
        differing = int((forest.margin(rows) != model.own_margin(rows)).sum())
    except (NotSupported, ImportError, OSError, RuntimeError) as error:
        _LOG.warning("LightGBM itself serves, which is slower: %s", error)
        return model.own_margin
    if differing:
        _LOG.warning(
            "LightGBM itself serves, which is slower: %d of %d rows come out otherwise than by its text",
            differing,
            len(rows),
        )
        return model.own_margin
    return forest.margin


@dataclass(frozen=True)
class Forest:
    """Trees as arrays. A node tests whether a row of `x` is above its threshold, and then takes its right branch.

    Attributes:
        width: columns of the matrix.
        columns, fills, zeros: of each row of `x` that is a column, which one it is, what stands for NaN in it, and whether 0 does too.
        sets: per categorical column, for each of its rows of `x` whether a code (the last: any other) goes right; shape
            (rows, codes + 1).
        rows: rows of `x`: columns, then those of `sets` in their order.
        feature, threshold, kept: of each node, its row of `x`, its threshold, and the leaves that are left where it goes right.
        start: the first node of each tree, and the end of the last; shape (trees + 1,).
        leaf: values of the leaves from left to right, shape (trees, 64).
    """

    width: int
    columns: Ints
    fills: Floats
    zeros: npt.NDArray[np.bool_]
    sets: Mapping[int, npt.NDArray[np.float64]]
    rows: int
    feature: Ints
    threshold: Floats
    kept: npt.NDArray[np.uint64]
    start: Ints
    leaf: Floats
    code: Kernel

    @classmethod
    def read(cls, text: str) -> Forest:
        """From LightGBM's text.

        Raises:
            NotSupported: a tree has more than 64 leaves or is of another kind than gradient-boosted trees with one output.
            ImportError, OSError, RuntimeError: nothing can be compiled here.
        """
        head, trees = _parts(text)
        if head.get("num_class") != "1" or head.get("num_tree_per_iteration") != "1" or "average_output" in head:
            raise NotSupported("the trees have more than one output, or are averaged")
        try:
            return _Reading(int(head["max_feature_idx"]) + 1).forest([_Tree.of(tree) for tree in trees])
        except (KeyError, ValueError, IndexError, RecursionError) as error:
            raise NotSupported(f"the text of the trees has another form than expected ({error!r})") from error

    def margin(self, matrix: Floats) -> Floats:
        """Log-odds, shape (n,), for a matrix of shape (n, k) of finite numbers and NaN; the same for a row whichever rows are with it."""
        count = len(matrix)
        if matrix.shape != (count, self.width):
            raise ValueError(f"the trees read {self.width} columns, not {matrix.shape}")
        if not count:
            return np.empty(0)
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        lanes = -(-count // LANES) * LANES
        fixed, cells = self._fixed, self.rows * lanes
        whole = np.empty(cells + lanes + LANES)
        # Vectors that each lie in one line of the cache are walked a quarter faster.
        begin = -(whole.ctypes.data // 8) % LANES
        x_at = whole.ctypes.data + 8 * begin
        out_at = x_at + 8 * cells
        self.code.spread(matrix.ctypes.data, self.width, count, lanes, *fixed.columns, len(self.columns), x_at)
        if fixed.odd:
            self._spread_odd(matrix, whole[begin : begin + cells].reshape(self.rows, lanes))
        for first in range(0, lanes, _WIDE):
            walk = self.code.forests[min(lanes - first, _WIDE) // LANES - 1]
            walk(x_at + 8 * first, lanes, *fixed.trees, out_at + 8 * first)
        return whole[begin + cells : begin + cells + count]

    def _spread_odd(self, matrix: Floats, x: Floats) -> None:
        """Fill in the rows of `x` that are no plain columns: where 0 means missing, and categories."""
        count = len(matrix)
        own = x[: len(self.columns)]
        np.copyto(own, self.fills[:, None], where=self.zeros[:, None] & (np.abs(own) <= _ZERO))
        at = len(self.columns)
        for column, right in self.sets.items():
            code = np.trunc(matrix[:, column])
            known = (code >= 0) & (code < right.shape[1] - 1)
            place = np.where(known, code, right.shape[1] - 1).astype(np.intp)
            x[at : at + len(right), :count] = right.take(place, axis=1)
            x[at : at + len(right), count:] = 0.0
            at += len(right)

    @cached_property
    def _fixed(self) -> _Fixed:
        trees = (self.feature, self.threshold, self.kept, self.start, self.leaf)
        return _Fixed(
            (self.columns.ctypes.data, self.fills.ctypes.data),
            (*(array.ctypes.data for array in trees), len(self.start) - 1),
            bool(self.sets) or bool(self.zeros.any()),
        )


class _Fixed(NamedTuple):
    """What is the same at every call: where the arrays lie, and whether any row of `x` is no plain column."""

    columns: tuple[int, int]
    trees: tuple[int, ...]
    odd: bool


def proof_rows(forest: Forest, *, seed: int) -> Floats:
    """Rows on which a wrong reading of the trees would show: at their thresholds, next to them, far from them, missing, large, zero,
    and with categories that no tree knows. Shape (n, k)."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(PROOF_ROWS, forest.width))
    for column in range(forest.width):
        at = np.flatnonzero(forest.columns == column)
        cuts = forest.threshold[np.isin(forest.feature, at) & (np.abs(forest.threshold) < _FAR)]
        if len(cuts):
            cut = rng.choice(cuts, PROOF_ROWS)
            aside = np.nextafter(cut, rng.choice([-np.inf, np.inf], PROOF_ROWS))
            far = cut + rng.normal(size=PROOF_ROWS) * (np.ptp(cuts) + 1.0)
            rows[:, column] = np.choose(rng.integers(0, 3, PROOF_ROWS), [cut, aside, far])
        if column in forest.sets:
            rows[:, column] = rng.integers(-2, forest.sets[column].shape[1] + 2, PROOF_ROWS)
    odd = rng.choice([np.nan, 0.0, -0.0, 1e-36, 1e9, -1e9], rows.shape, p=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    rows = np.where(rng.random(rows.shape) < 0.15, odd, rows)
    rows[0] = np.nan
    return rows


@dataclass(frozen=True)
class _Tree:
    """A tree as LightGBM writes it: inner nodes from 0, leaf n as child -1 - n."""

    feature: list[int]
    threshold: list[float]
    kind: list[int]
    left: list[int]
    right: list[int]
    leaf: list[float]
    bounds: list[int]
    words: list[int]

    @classmethod
    def of(cls, lines: Mapping[str, str]) -> _Tree:
        if lines.get("is_linear", "0") != "0":
            raise NotSupported("the trees have lines in their leaves")
        leaves = int(lines["num_leaves"])
        if leaves > MOST_LEAVES:
            raise NotSupported(f"a tree has {leaves} leaves; at most {MOST_LEAVES} are walked fast")

        def of(name: str, kind: Callable[[str], Any]) -> list[Any]:
            return [kind(word) for word in lines.get(name, "").split()]

        found = cls(
            of("split_feature", int), of("threshold", float), of("decision_type", int), of("left_child", int),
            of("right_child", int), of("leaf_value", float), of("cat_boundaries", int), of("cat_threshold", int),
        )  # fmt: skip
        nodes = {len(part) for part in (found.feature, found.threshold, found.kind, found.left, found.right)}
        if len(found.leaf) != leaves or nodes != {leaves - 1}:
            raise NotSupported("a tree has another number of nodes than it says")
        return found

    def right_of(self, node: int, codes: int) -> npt.NDArray[np.float64]:
        """Of each code, then of any other, whether a categorical node sends it right; shape (codes + 1,)."""
        first, last = self.bounds[int(self.threshold[node])], self.bounds[int(self.threshold[node]) + 1]
        bits = np.array([word >> bit & 1 for word in self.words[first:last] for bit in range(32)], dtype=np.float64)[
            :codes
        ]
        return 1.0 - np.pad(bits, (0, codes + 1 - len(bits)))

    def codes_of(self, node: int) -> int:
        """One more than the largest code that a categorical node names, rounded up to whole words."""
        cut = int(self.threshold[node])
        return 32 * (self.bounds[cut + 1] - self.bounds[cut])

    def walk(self) -> tuple[list[int], list[int], list[float]]:
        """The inner nodes that are reached, the leaves left over where each goes right, as bits, and leaves from left to right."""
        nodes: list[int] = []
        kept: list[int] = []
        leaves: list[float] = []

        def below(child: int) -> int:
            """Visit; returns the bits of the leaves below."""
            if child < 0:
                leaves.append(self.leaf[-1 - child])
                if len(leaves) > len(self.leaf):
                    raise NotSupported("a tree runs in a circle")
                return 1 << (len(leaves) - 1)
            lost = below(self.left[child])
            nodes.append(child)
            kept.append(~lost & (2**64 - 1))
            return lost | below(self.right[child])

        below(0 if self.feature else -1)
        return nodes, kept, leaves


class _Reading:
    """Trees on their way into arrays: each pair of a column and what stands for NaN in it, and each set of codes, once."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.numbers: dict[tuple[int, float, bool], int] = {}
        self.sets: dict[int, dict[bytes, npt.NDArray[np.float64]]] = {}
        self.codes: dict[int, int] = {}

    def forest(self, trees: Sequence[_Tree]) -> Forest:
        for tree in trees:
            for node, kind in enumerate(tree.kind):
                if kind & _CATEGORY:
                    column = tree.feature[node]
                    self.codes[column] = max(self.codes.get(column, 0), tree.codes_of(node))
        walked = [tree.walk() for tree in trees]
        named = [[self._test(tree, node) for node in nodes] for tree, (nodes, _, _) in zip(trees, walked, strict=True)]
        place = self._places()
        every = [test for tests in named for test in tests]
        leaf = np.zeros((len(trees), MOST_LEAVES))
        for number, (_, _, values) in enumerate(walked):
            leaf[number, : len(values)] = values
        pairs = list(self.numbers)
        return Forest(
            self.width,
            np.array([column for column, _, _ in pairs], dtype=np.int64),
            np.array([fill for _, fill, _ in pairs], dtype=np.float64),
            np.array([zero for _, _, zero in pairs], dtype=np.bool_),
            {column: np.array(list(rows.values())) for column, rows in self.sets.items()},
            len(place),
            np.array([place[key] for key, _ in every], dtype=np.int64),
            np.array([threshold for _, threshold in every], dtype=np.float64),
            np.array([bits for _, kept, _ in walked for bits in kept], dtype=np.uint64),
            np.cumsum([0, *(len(nodes) for nodes, _, _ in walked)], dtype=np.int64),
            leaf,
            kernel(),
        )

    def _test(self, tree: _Tree, node: int) -> tuple[tuple[Any, ...], float]:
        """Which row of `x` a node reads, and from which value on it goes right."""
        column, kind, threshold = tree.feature[node], tree.kind[node], tree.threshold[node]
        if not 0 <= column < self.width:
            raise NotSupported("a tree reads a column that is not there")
        if kind & _CATEGORY:
            right = tree.right_of(node, self.codes[column])
            self.sets.setdefault(column, {}).setdefault(right.tobytes(), right)
            return (column, right.tobytes()), 0.5
        if not threshold > -np.inf:
            raise NotSupported("a threshold is no number")
        missing = kind >> 2 & 3
        fill = 0.0 if missing == 0 else -np.inf if kind & _DEFAULT_LEFT else np.inf
        if missing not in {0, _MISSING_IS_ZERO, _MISSING_IS_NAN}:
            raise NotSupported("missing values are meant in an unknown way")
        key = (column, fill, missing == _MISSING_IS_ZERO)
        self.numbers.setdefault(key, len(self.numbers))
        return key, _told_apart(threshold)

    def _places(self) -> dict[tuple[Any, ...], int]:
        place: dict[tuple[Any, ...], int] = dict(self.numbers)
        for column, rows in self.sets.items():
            for right in rows:
                place[column, right] = len(place)
        return place


def _told_apart(threshold: float) -> float:
    """The threshold that parts a number as it is, as the text's parts it once LightGBM has taken it for 0."""
    if -_ZERO <= threshold < _ZERO:
        return _ZERO if threshold >= 0 else float(np.nextafter(-_ZERO, -np.inf))
    return min(threshold, _LARGEST)  # one of infinity parts what is missing from what is not


def _parts(text: str) -> tuple[dict[str, str], Iterator[dict[str, str]]]:
    """The head and each tree of LightGBM's text, as words by name."""
    head, *trees = text.partition("\nend of trees")[0].split("\nTree=")
    return _words(head), map(_words, trees)


def _words(lines: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in lines.splitlines())}
