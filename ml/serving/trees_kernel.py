"""Machine code that walks a forest for many rows at once. It is the same for every model: trees are its data.

A tree of at most 64 leaves is a 64-bit set of the leaves that can still be reached. Each inner node says which leaves are lost
when its test fails (those of its left branch), so that the leaf is the lowest bit left after all nodes were tried, in any order and
without a branch (QuickScorer, Lucchese et al. 2015). Eight rows are tried by one vector instruction, up to four of these together.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

LANES = 8
"""Rows of one vector."""
MOST_VECTORS = 4
"""Vectors that are worked on together; more would not fit into the registers."""

_HEAD = """
declare <{lanes} x i64> @llvm.cttz.v{lanes}i64(<{lanes} x i64>, i1)
"""

_SPREAD = """
define void @spread(ptr noalias %matrix, i64 %width, i64 %count, i64 %lanes, ptr noalias %column, ptr noalias %fill, i64 %rows,
                    ptr noalias %x) {{
entry:
  %any = icmp ult i64 0, %rows
  br i1 %any, label %row, label %end
row:
  %r = phi i64 [0, %entry], [%r.next, %row.end]
  %r.next = add i64 %r, 1
  %c.at = getelementptr i64, ptr %column, i64 %r
  %c = load i64, ptr %c.at
  %f.at = getelementptr double, ptr %fill, i64 %r
  %f = load double, ptr %f.at
  %from = getelementptr double, ptr %matrix, i64 %c
  %first = mul i64 %r, %lanes
  %to = getelementptr double, ptr %x, i64 %first
  br label %lane
lane:
  %n = phi i64 [0, %row], [%n.next, %lane]
  %n.next = add i64 %n, 1
  %in = icmp ult i64 %n, %count
  %own = select i1 %in, i64 %n, i64 0
  %v.skip = mul i64 %own, %width
  %v.at = getelementptr double, ptr %from, i64 %v.skip
  %v = load double, ptr %v.at
  %gone = fcmp uno double %v, %v
  %w = select i1 %gone, double %f, double %v
  %w.at = getelementptr double, ptr %to, i64 %n
  store double %w, ptr %w.at
  %more = icmp ult i64 %n.next, %lanes
  br i1 %more, label %lane, label %row.end
row.end:
  %again = icmp ult i64 %r.next, %rows
  br i1 %again, label %row, label %end
end:
  ret void
}}
"""
"""Columns of a matrix (at least one row) as rows, with something in the place of NaN, and its first row again up to whole vectors."""

_FUNCTION = """
define void @forest{vectors}(ptr noalias %x, i64 %stride, ptr noalias %feature, ptr noalias %threshold, ptr noalias %kept,
                             ptr noalias %start, ptr noalias %leaf, i64 %trees, ptr noalias %out) {{
entry:
  br label %tree
tree:
  %t = phi i64 [0, %entry], [%t.next, %leaves]
{sums}
  %t.next = add i64 %t, 1
  %first.at = getelementptr i64, ptr %start, i64 %t
  %last.at = getelementptr i64, ptr %start, i64 %t.next
  %first = load i64, ptr %first.at
  %last = load i64, ptr %last.at
  %any = icmp ult i64 %first, %last
  br i1 %any, label %node, label %leaves
node:
  %n = phi i64 [%first, %tree], [%n.next, %node]
{lefts}
  %f.at = getelementptr i64, ptr %feature, i64 %n
  %f = load i64, ptr %f.at
  %h.at = getelementptr double, ptr %threshold, i64 %n
  %h = load double, ptr %h.at
  %k.at = getelementptr i64, ptr %kept, i64 %n
  %k = load i64, ptr %k.at
  %h.one = insertelement <{lanes} x double> poison, double %h, i64 0
  %h.all = shufflevector <{lanes} x double> %h.one, <{lanes} x double> poison, <{lanes} x i32> zeroinitializer
  %k.one = insertelement <{lanes} x i64> poison, i64 %k, i64 0
  %k.all = shufflevector <{lanes} x i64> %k.one, <{lanes} x i64> poison, <{lanes} x i32> zeroinitializer
  %row = mul i64 %f, %stride
  %x.row = getelementptr double, ptr %x, i64 %row
{tests}
  %n.next = add i64 %n, 1
  %more = icmp ult i64 %n.next, %last
  br i1 %more, label %node, label %leaves
leaves:
{founds}
  %l.first = shl i64 %t, 6
  %l.at = getelementptr double, ptr %leaf, i64 %l.first
{values}
  %again = icmp ult i64 %t.next, %trees
  br i1 %again, label %tree, label %end
end:
{stores}
  ret void
}}
"""


def _vector(v: int) -> dict[str, str]:
    lanes = range(LANES)
    of, oi = f"<{LANES} x double>", f"<{LANES} x i64>"
    values = [f"  %i{v} = call {oi} @llvm.cttz.v{LANES}i64({oi} %m{v}.found, i1 true)"]
    for n in lanes:
        values += [
            f"  %i{v}.{n} = extractelement {oi} %i{v}, i64 {n}",
            f"  %a{v}.{n} = getelementptr double, ptr %l.at, i64 %i{v}.{n}",
            f"  %v{v}.{n} = load double, ptr %a{v}.{n}",
            f"  %w{v}.{n} = insertelement {of} {'poison' if n == 0 else f'%w{v}.{n - 1}'}, double %v{v}.{n}, i64 {n}",
        ]
    values += [f"  %s{v}.next = fadd {of} %s{v}, %w{v}.{LANES - 1}"]
    return {
        "sums": f"  %s{v} = phi {of} [zeroinitializer, %entry], [%s{v}.next, %leaves]",
        "lefts": f"  %m{v} = phi {oi} [splat (i64 -1), %tree], [%m{v}.next, %node]",
        "tests": "\n".join(
            [
                f"  %x{v}.at = getelementptr double, ptr %x.row, i64 {v * LANES}",
                f"  %x{v} = load {of}, ptr %x{v}.at, align 8",
                f"  %c{v} = fcmp ogt {of} %x{v}, %h.all",
                f"  %k{v} = and {oi} %m{v}, %k.all",
                f"  %m{v}.next = select <{LANES} x i1> %c{v}, {oi} %k{v}, {oi} %m{v}",
            ]
        ),
        "founds": f"  %m{v}.found = phi {oi} [splat (i64 -1), %tree], [%m{v}.next, %node]",
        "values": "\n".join(values),
        "stores": "\n".join(
            [
                f"  %o{v}.at = getelementptr double, ptr %out, i64 {v * LANES}",
                f"  store {of} %s{v}.next, ptr %o{v}.at, align 8",
            ]
        ),
    }


def source() -> str:
    """The kernel as LLVM's text: a function for one, two, three and four vectors."""
    text = _HEAD.format(lanes=LANES) + _SPREAD.format()
    for vectors in range(1, MOST_VECTORS + 1):
        parts = [_vector(v) for v in range(vectors)]
        joined = {name: "\n".join(part[name] for part in parts) for name in parts[0]}
        text += _FUNCTION.format(vectors=vectors, lanes=LANES, **joined)
    splat = ", ".join(["i64 -1"] * LANES)
    return text.replace("splat (i64 -1)", f"<{splat}>")


_SIGNATURE = ctypes.CFUNCTYPE(
    None,
    ctypes.c_void_p,
    ctypes.c_int64,
    *[ctypes.c_void_p] * 5,
    ctypes.c_int64,
    ctypes.c_void_p,
)
_SPREAD_SIGNATURE = ctypes.CFUNCTYPE(
    None,
    ctypes.c_void_p,
    *[ctypes.c_int64] * 3,
    *[ctypes.c_void_p] * 2,
    ctypes.c_int64,
    ctypes.c_void_p,
)


@dataclass(frozen=True)
class Kernel:
    """How forests are walked, by the number of vectors less 1; how a matrix is laid out for it; what keeps their code alive."""

    forests: tuple[Any, ...]
    spread: Any
    engine: Any


@cache
def kernel() -> Kernel:
    """Compiled for this processor on first use, in a few hundredths of a second.

    Raises:
        ImportError, OSError, RuntimeError: there is no compiler here.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(source())
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
    )
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    forests = tuple(
        _SIGNATURE(engine.get_function_address(f"forest{vectors}")) for vectors in range(1, MOST_VECTORS + 1)
    )
    return Kernel(forests, _SPREAD_SIGNATURE(engine.get_function_address("spread")), engine)
