"""What each cause of an incident means: its name in a mail, what the platform does by itself, what a person should do.

One place to add: a cause is one line here. A cause with a suffix (`task:train`) falls back to its prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Cause:
    """A kind of incident.

    Attributes:
        name: in a mail.
        did: what the platform did by itself.
        todo: what a person should do.
        dag: whose run a reader should open first.
        retrain: whether a model trained on newer days may cure it: then one is due while it is open.
        owner: the role that has it, unless a route names somebody.
    """

    name: str
    did: str
    todo: str
    dag: str
    retrain: bool = False
    owner: str = "bids"


_HELD = "Nothing of the day reaches training. The champion and the bids published before stay in force."

_RETRAIN = (
    "A retrain is due, and its candidate has to pass every gate. Until then the champion stays and goes on bidding."
)
_NO_RETRAIN = "No retrain is due for it: a model trained on these days would learn the fault."

DRIFT_CAUSES: Mapping[str, Cause] = {
    "drift:demand": Cause(
        "Drift: demand",
        _RETRAIN,
        "Look at which searches there are more or fewer of. A season, an event or new hotels need nothing but the retrain; look "
        "at the plan and the budgets.",
        "check_drift",
        retrain=True,
    ),
    "drift:rivals": Cause(
        "Drift: rivals",
        _RETRAIN + " Bids follow how the market answers, day by day.",
        "Look at prices first: where rivals became cheaper, higher bids buy dear clicks that do not book. Do not chase them "
        "with bids by hand.",
        "check_drift",
        retrain=True,
    ),
    "drift:parity": Cause(
        "Drift: our prices",
        "The champion stays and goes on bidding what a click is worth. No retrain is due: prices are ours to set.",
        "Tell whoever sets prices: our rates moved against the rivals' for the same stays. If that is meant, nothing is to be "
        "done here.",
        "check_drift",
        owner="pricing",
    ),
    "drift:tracking": Cause(
        "Drift: tracking",
        "The days since conversions stopped are held: nothing of them reaches training, and the bids published before stand. "
        + _NO_RETRAIN,
        "Look at the conversion tag and the import of conversions, at the partner and the point of sale that is named. Have the "
        "bookings delivered again, then trigger ingest_market and check_drift for these days.",
        "settle_outcomes",
        owner="data",
    ),
    "drift:feed": Cause(
        "Drift: feed",
        "The champion stays. Days whose prices or reports were wrong are no reference for later ones. " + _NO_RETRAIN,
        "Compare the price shown with the one asked on the landing page, for the hotels that are far below every rival; take "
        "them out until the feed is mended (kill switch level 3 for the partner where it is many). Reports that come late or "
        "twice: ask the partner.",
        "ingest_market",
        owner="data",
    ),
    "drift:cancellations": Cause(
        "Drift: cancellations",
        _RETRAIN,
        "Look at which bookings are cancelled: a rate, a hotel, a country. Until the retrain is live, lower the target cost "
        "share or the budget, since what is sold now is worth less.",
        "settle_outcomes",
        retrain=True,
    ),
    "drift:auction": Cause(
        "Drift: the partner's auction",
        _RETRAIN + " How clicks and their cost answer to bids is learned anew every day.",
        "Ask the partner what changed in what it charges. Clicks that cost more than was bid are a unit or a bill that is "
        "wrong: pull the kill switch for that partner.",
        "publish_bids",
        retrain=True,
    ),
    "drift:model": Cause(
        "Drift: our model",
        _RETRAIN,
        "The market did not move, what the model promises is not what comes. Look at our own site first: a page that does not "
        "book looks the same. Then compare predicted with realised value on the page.",
        "train_bid_model",
        retrain=True,
    ),
    "drift:unknown": Cause(
        "Drift",
        _RETRAIN,
        "Look at what moved. If a rival, a season or a partner changed, let the retrain do its work. If one of our own feeds "
        "changed, mend it and let the day be delivered again.",
        "check_drift",
        retrain=True,
    ),
}
"""Drift by its likely cause, see `monitoring.diagnosis`."""

CAUSES: Mapping[str, Cause] = {
    "drift": Cause(
        "Drift",
        "The day is kept and a retrain is due: a candidate will be trained on what is known now and has to pass every "
        "gate. Until then the champion stays and goes on bidding.",
        "Look at the columns that moved. If a rival, a season or a partner changed, let the retrain do its work. If one "
        "of our own feeds changed, mend it and let the day be delivered again.",
        "check_drift",
        retrain=True,
    ),
    **DRIFT_CAUSES,
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
        retrain=True,
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
        return replace(found, dag=_TASK_DAGS.get(suffix, ""))
    return found


def retrain_helps(cause: str) -> bool:
    """Whether a retrain may cure an incident of this cause.

    >>> retrain_helps("drift:rivals"), retrain_helps("drift:tracking"), retrain_helps("ingest:schema")
    (True, False, False)
    """
    return meaning(cause).retrain
