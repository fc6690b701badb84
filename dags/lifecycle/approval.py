"""What a person reads before approving a promotion, and how the answer reaches the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

DECISION: Final = "decision"
"""XCom key under which `judge` leaves the decision; its return value is the branch it chose."""

_SHOWN = ("gate", "verdict", "number", "threshold", "interval", "sample", "reason")

APPROVAL_BODY: Final = """\
{%- set decision = ti.xcom_pull(task_ids='judge', key='decision') -%}
Market day **{{ dag_run.partition_key }}**, decision **{{ decision['decision_id'] }}**, \
verdict **{{ decision['verdict'] }}**.

{{ decision['table'] }}

*Approve* makes the candidate the champion. *Reject*, or no answer within 8 hours, leaves the champion as it is.
"""


def evidence_table(decision: Mapping[str, Any]) -> str:
    """Every gate of a decision as a Markdown table, one row a gate.

    >>> print(evidence_table({"gates": [{"gate": "calibration", "verdict": "PASS", "number": 1.01}]}))
    | gate | verdict | number | threshold | interval | sample | reason |
    |---|---|---|---|---|---|---|
    | calibration | PASS | 1.01 |  |  |  |  |
    """
    head = "| " + " | ".join(_SHOWN) + " |"
    rows = ["| " + " | ".join(_cell(gate.get(name)) for name in _SHOWN) + " |" for gate in decision.get("gates", ())]
    return "\n".join([head, "|" + "---|" * len(_SHOWN), *rows])


def approval_of(answer: Mapping[str, Any] | None) -> dict[str, str] | None:
    """The ledger's form of an answer: who chose what; None where nobody was asked.

    >>> approval_of({"chosen_options": ["Reject"], "responded_by_user": None})
    {'answer': 'Reject', 'by': 'nobody (no answer in time)'}
    """
    if answer is None:
        return None
    person = answer.get("responded_by_user") or {}
    return {"answer": answer["chosen_options"][0], "by": person.get("name") or "nobody (no answer in time)"}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
