"""What a person reads before approving a promotion, and how the answer reaches the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

DECISION: Final = "decision"
"""XCom key under which `judge` leaves the decision; its return value is the branch it chose."""

_SHOWN = ("gate", "verdict", "number", "threshold", "interval", "sample", "reason", "waived")
_SLICES = ("model", "slice", "rows", "change", "error")

APPROVAL_BODY: Final = """\
{%- set decision = ti.xcom_pull(task_ids='judge', key='decision') -%}
Market day **{{ dag_run.partition_key }}**, decision **{{ decision['decision_id'] }}**, \
verdict **{{ decision['verdict'] }}**.

Candidate `{{ decision['candidate'] }}` to replace generation **{{ decision['generation'] }}** \
(`{{ decision['champion'] or 'no champion yet' }}`), policy `{{ decision['policy'] }}`.

You are asked because: {{ decision['reasons'] | join('; ') }}.

{{ decision['table'] }}

{{ decision['slice_table'] }}

*Approve* makes the candidate the champion, if that generation still stands. *Reject*, or no answer within 8 hours, leaves \
the champion as it is, and this version is not offered again.
"""


def evidence_table(decision: Mapping[str, Any]) -> str:
    """Every gate of a decision as a Markdown table, one row a gate.

    >>> print(evidence_table({"gates": [{"gate": "calibration", "verdict": "PASS", "number": 1.01}]}))
    | gate | verdict | number | threshold | interval | sample | reason | waived |
    |---|---|---|---|---|---|---|---|
    | calibration | PASS | 1.01 |  |  |  |  |  |
    """
    return _table(_SHOWN, decision.get("gates", ()))


def slice_table(decision: Mapping[str, Any]) -> str:
    """The slices furthest behind the champion as a Markdown table; a sentence where none was measured."""
    slices = decision.get("slices", ())
    return _table(_SLICES, slices) if slices else "No slices to compare."


def approval_of(answer: Mapping[str, Any] | None, decision: Mapping[str, Any]) -> dict[str, Any] | None:
    """The ledger's form of an answer: who chose what, of which candidate and generation; None where nobody was asked.

    >>> approval_of({"chosen_options": ["Reject"], "responded_by_user": None}, {"candidate": "c", "generation": 1})
    {'answer': 'Reject', 'by': 'nobody (no answer in time)', 'candidate': 'c', 'generation': 1}
    """
    if answer is None:
        return None
    person = answer.get("responded_by_user") or {}
    return {
        "answer": answer["chosen_options"][0],
        "by": person.get("name") or "nobody (no answer in time)",
        "candidate": decision["candidate"],
        "generation": decision["generation"],
    }


def answered(context: Mapping[str, Any]) -> dict[str, Any]:
    """What `ml.pipeline.promote` is asked: the decision that `judge` left, and the answer where a person was asked."""
    decision = context["ti"].xcom_pull(task_ids="judge", key=DECISION)
    return {
        "decision_id": decision["decision_id"],
        "approval": approval_of(context["ti"].xcom_pull("approve"), decision),
    }


def _table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    head = "| " + " | ".join(columns) + " |"
    lines = ["| " + " | ".join(_cell(row.get(name)) for name in columns) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(columns), *lines])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
