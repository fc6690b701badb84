"""An error says what happened, what is left, and what to do next."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from ml.core import errors
from ml.core.verdict import Verdict, worst


def test_the_sentence_holds_all_three_parts_and_skips_what_is_empty() -> None:
    error = errors.CorruptArtefact("the bundle is damaged", left="the champion is unchanged", next="train again")
    assert str(error) == "the bundle is damaged; the champion is unchanged; train again"
    assert str(errors.NoData("no day 2016-10-01")) == "no day 2016-10-01"


def test_an_error_crosses_from_a_worker_process_whole() -> None:
    error = errors.NoData("no day", left="nothing changed", next="ingest it")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(errors.NoData) as caught:
        pool.submit(fail_with, error).result()
    assert (str(caught.value), caught.value.next) == (str(error), error.next)


def fail_with(error: errors.BidwrightError) -> None:
    raise error


def test_every_error_is_of_one_of_the_three_families() -> None:
    families = (errors.UsageError, errors.PermanentError, errors.RetryableError)
    ours = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.BidwrightError) and kind is not errors.BidwrightError
    ]
    assert len(ours) >= 10
    assert all(issubclass(kind, families) for kind in ours)
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in ours), "the tree in the docstring is whole"


def test_a_failure_outweighs_a_hold_and_a_hold_a_pass() -> None:
    assert worst([Verdict.PASS, Verdict.FAIL, Verdict.HOLD]) is Verdict.FAIL
    assert worst([Verdict.PASS, Verdict.HOLD]) is Verdict.HOLD
    assert worst([Verdict.PASS]) is Verdict.PASS


def test_no_evidence_at_all_is_a_hold() -> None:
    assert worst([]) is Verdict.HOLD
