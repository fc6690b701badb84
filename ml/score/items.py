"""The 28 items of the ML Test Score (Breck, Cai, Nielsen, Salib and Sculley, IEEE Big Data 2017), in its four sections.

A test that holds an item carries the marker `ml_test_score("data1")`. An item that no test holds is in `MISSED`, with the
reason; a house test keeps the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping

SECTIONS = ("data", "model", "infra", "monitor")

ITEMS: Mapping[str, str] = {
    "data1": "what is expected of the data is written in a schema",
    "data2": "every feature is worth having",
    "data3": "no feature costs too much",
    "data4": "features keep to rules above them: nothing filled in later, nobody's identity",
    "data5": "privacy: who may read what, for how long",
    "data6": "a new feature is added quickly",
    "data7": "all code of features is tested",
    "model1": "every model's code is a reviewed commit",
    "model2": "offline measures go with what is earned",
    "model3": "hyper-parameters are tuned",
    "model4": "what an old model costs is known",
    "model5": "a simpler model is not better",
    "model6": "quality holds in every slice",
    "model7": "nobody is left out: small hotels, devices, points of sale",
    "infra1": "training is reproducible",
    "infra2": "model code is unit-tested",
    "infra3": "the whole pipeline is integration-tested",
    "infra4": "quality is judged before a model serves",
    "infra5": "one decision can be followed step by step",
    "infra6": "models come to power by a canary",
    "infra7": "going back is quick and safe",
    "monitor1": "a change upstream is told",
    "monitor2": "the same rules hold in training and in serving",
    "monitor3": "training and serving compute the same",
    "monitor4": "models are not too old",
    "monitor5": "numbers stay finite",
    "monitor6": "speed and memory do not get worse",
    "monitor7": "what is promised comes true in service",
}

MISSED: Mapping[str, str] = {}
"""Items that no test holds, and why."""


def section(item: str) -> str:
    """The section of an item.

    >>> section("monitor3")
    'monitor'
    """
    return item.rstrip("0123456789")
