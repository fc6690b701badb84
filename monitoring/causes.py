"""What each cause of an incident means: its name in a mail, what the platform does by itself, what a person should do.

One place to add: a cause is one line here. A cause with a suffix (`task:train`) falls back to its prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A kind of incident. `dag` is the DAG whose run a reader should open first."""

    name: str
    did: str
    todo: str
    dag: str


_HELD = "Nothing of the day reaches training. The champion and the bids published before stay in force."

CAUSES: Mapping[str, Cause] = {
    "drift": Cause(
        "Drift",
        "The day is kept and a retrain is due: a candidate will be trained on what is known now and has to pass every "
        "gate. Until then the champion stays and goes on bidding.",
        "Look at the columns that moved. If a rival, a season or a partner changed, let the retrain do its work. If one "
        "of our own feeds changed, mend it and let the day be delivered again.",
        "check_drift",
    ),
    "completeness": Cause(
        "Completeness",
        "A day that lacks a column, or has far more nulls or infinities than usual, is held: nothing of it reaches "
        "training, and the champion and the bids published before stay in force. A day with an odd number of rows "
        "goes on, and is only told.",
        "Where rows or values are missing, ask the source to deliver the day again, then trigger ingest_market with "
        "this day as its partition key: the day overwrites itself and is checked anew. Where the market itself was "
        "so quiet, or so busy, nothing is to be done.",
        "check_drift",
    ),
    "predictions": Cause(
        "Predictions broken",
        "The day is kept. The champion stays, and bids are made only from predictions that are numbers.",
        "Open the run's log and the champion's decision. If the champion cannot score today's rows, promote the "
        "version before it.",
        "check_drift",
    ),
    "calibration": Cause(
        "Calibration off",
        "A retrain is due: a candidate will be trained on the outcomes known now. Bids keep following the champion "
        "until a candidate passes the gates.",
        "Compare predicted with realised value on the page. If bids are too high, lower the target cost share until "
        "the retrained model is live.",
        "settle_outcomes",
    ),
    "parity": Cause(
        "Served features differ",
        "The day is kept. No candidate is promoted while a feature is served otherwise than it was trained on; the champion "
        "and its bids stay in force.",
        "The mail names the first values that differ. Run bidwright materialize for the newest day, which writes the online "
        "store anew; if they differ again on the next day, the definition or the store is at fault.",
        "materialize_features",
    ),
    "check": Cause(
        "Check did not finish",
        "What could not be judged counts as HOLD, never as fine. The champion and its bids stay in force.",
        "Open the task's log. Clear the task once the reason is gone: the day is judged anew and nothing doubles.",
        "check_drift",
    ),
    "ingest": Cause(
        "Market day not landed",
        "Nothing of the day was landed. The champion and the bids published before stay in force.",
        "Ask the source to deliver the day again, then trigger ingest_market with this day as its partition key.",
        "ingest_market",
    ),
    "ingest:schema": Cause(
        "Delivery changed its form",
        "Nothing of the day was landed. The champion and the bids published before stay in force.",
        "Ask the source why the column changed. Have the day delivered in the agreed form, or change the contract in "
        "ml/market/tables.py; then trigger ingest_market with this day as its partition key.",
        "ingest_market",
    ),
    "ingest:rejected": Cause(
        "Delivery rejected",
        "The broken rows are in quarantine, each with its reason; nothing of the day was landed. " + _HELD,
        "Look at the top reason, ask the source to deliver the day again, then trigger ingest_market with this day as "
        "its partition key.",
        "ingest_market",
    ),
    "ingest:missing": Cause(
        "Delivery missing",
        "Nothing was landed, because the day is not there. The champion and the bids published before stay in force.",
        "Ask the source for the day, then trigger ingest_market with this day as its partition key.",
        "ingest_market",
    ),
    "ingest:repeated": Cause(
        "Rows delivered twice",
        "The first copy of each row was landed, the second is in quarantine. The day goes on as usual.",
        "Ask the source not to deliver twice. Nothing needs to be run again.",
        "ingest_market",
    ),
    "ingest:events": Cause(
        "Bid decisions missing",
        "The decisions were answered; only their records are missing, or damaged. What could be read is in the lake, and "
        "damaged pieces are kept beside the event log. The day goes on as usual.",
        "Find out why a worker of the bid service died, or why its disk was full or too slow: its log and "
        "bidwright doctor tell. Nothing needs to be run again.",
        "ingest_market",
    ),
    "kill-switch": Cause(
        "Kill switch",
        "The bids that the switch says are published, and every day's publication keeps to it until a person releases "
        "it. Training and gates go on.",
        "Find out why the bids were wrong. bidwright kill-switch status shows what stands; once the reason is gone, "
        "bidwright kill-switch release lets the champion bid again.",
        "publish_bids",
    ),
    "rollback": Cause(
        "Rollback",
        "The bundle that failed answers no more and is barred: it is not offered again by itself. The champion before "
        "it, or the one that stands, answers every request.",
        "Read the reason and the gates: bidwright rollout status. Mend what was wrong and train again; if the bundle "
        "was not to blame, bidwright bars lift lets it be offered again.",
        "promote_bid_model",
    ),
    "rollback:frozen": Cause(
        "Promotions frozen",
        "The judge rolled back several candidates in a row. Nothing is promoted by itself any more; what is live stays.",
        "Find out why: the candidates, the bid service or the judge. Then bidwright bars lift '*' lets candidates move "
        "again.",
        "promote_bid_model",
    ),
    "dag": Cause(
        "DAG run failed",
        "What the run had written stays as it was. The champion and the bids published before stay in force.",
        "Open the run and its log, remove the reason, and clear or trigger the run again: nothing doubles.",
        "",
    ),
    "deadline": Cause(
        "Run is late",
        "The run goes on. The champion and the bids published before stay in force until it is over.",
        "Open the run: a task may wait for a slot, a pool or a person, or work on more data than usual.",
        "",
    ),
    "task": Cause(
        "Step stopped",
        "What the step had written stays as it was. The champion and the bids published before stay in force.",
        "Open the task's log, remove the reason, and clear the task: it can be run again as often as you like.",
        "",
    ),
}

_TASK_DAGS = {
    "ingest": "ingest_market",
    "settle": "settle_outcomes",
    "materialize": "materialize_features",
    "drift": "check_drift",
    "train": "train_bid_model",
    "promote": "promote_bid_model",
    "publish": "publish_bids",
}

_UNKNOWN = Cause(
    "Incident", "The champion and the bids published before stay in force.", "Open the run in Airflow.", ""
)


def meaning(cause: str) -> Cause:
    """What a cause means; an unknown one still makes a readable mail.

    >>> meaning("task:train").dag, meaning("ingest:null").name, meaning("meteor").name
    ('train_bid_model', 'Market day not landed', 'Incident')
    """
    prefix, _, suffix = cause.partition(":")
    found = CAUSES.get(cause) or CAUSES.get(prefix) or _UNKNOWN
    if prefix == "task":
        return Cause(found.name, found.did, found.todo, _TASK_DAGS.get(suffix, ""))
    return found
