"""How sure a look must be: alpha that is spent over repeated looks at a champion, so that a year of them errs once in twenty years.

Every retrain is another look, and with 5 % each a year of 52 candidates that are no better would promote one almost surely.
The year's alpha is a budget, spent by the calendar (K. K. G. Lan and D. L. DeMets, "Discrete sequential boundaries for clinical
trials", Biometrika 70(3), 1983, with the linear use function, and "Group sequential procedures: calendar versus information time",
Statistics in Medicine 8, 1989): a look may spend what accrued since the look before it. By the union bound the looks of any 365
days that are taken at their share err with probability `ALPHA_A_YEAR` at most, whatever their number, their spacing, and however
their rows overlap. It even bounds the expected number of false promotions, for a promotion does not start the budget anew.

Shares that fall with the number of looks (`6 / (pi k)^2`, O'Brien and Fleming, LORD) would spend the most on the first weeks of a
champion, and leave little for the day on which it has grown stale. A look after a quiet month is sharper than a weekly one, up to
`MOST_DAYS` of it; these days are added to the year, so that what was saved before it began is paid for too.
"""

from __future__ import annotations

from collections.abc import Mapping

ALPHA_A_YEAR = 0.05
"""Probability at most that a year of candidates that are no better promotes one."""

YEAR_DAYS = 365
MOST_DAYS = 28
"""Days of alpha that a look may have saved up."""


def alpha_of_look(days_since_last: int, *, a_year: float = ALPHA_A_YEAR, most_days: int = MOST_DAYS) -> float:
    """What a look may spend, one-sided, so many days after the look (or the champion's first day) before it; 0 on the same day.

    >>> round(alpha_of_look(7), 6), alpha_of_look(0)
    (0.000891, 0.0)
    """
    return a_year * min(max(days_since_last, 0), most_days) / (YEAR_DAYS + most_days)


def gains(p_values: Mapping[str, float], alpha: float) -> tuple[str, ...]:
    """Which of several primaries gain, at alpha for all of them together (Holm, Scandinavian Journal of Statistics 6, 1979).

    Args:
        p_values: one-sided p-value of a gain, by name; NaN is no evidence.
        alpha: what this look may spend.

    >>> gains({"value": 0.0001, "conversion": 0.3}, 0.001)
    ('value',)
    """
    found: list[str] = []
    ordered = sorted(p_values.items(), key=lambda item: (item[1] != item[1], item[1]))
    for place, (name, p) in enumerate(ordered):
        if not p < alpha / (len(ordered) - place):
            break
        found.append(name)
    return tuple(found)
