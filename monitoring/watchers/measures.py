"""The sums that series have, by name: what each one means. `ml.steps.watch_series` makes them."""

from __future__ import annotations

from collections.abc import Mapping

SUMS: Mapping[str, str] = {
    "eligible": "auctions that we could have been shown in",
    "impressions": "of them, those we were shown in",
    "places": "place reached, summed over auctions: 1 at the top, 1/4 in the last place, 0 where not shown",
    "places_expected": "the same as bids and prices like these reached in the reference weeks",
    "clicks": "clicks on our offers",
    "clicks_expected": "clicks of the places reached, as such places and prices had them in the reference weeks",
    "spend": "what the clicks cost, in micros",
    "clicked_bids": "our bids in the auctions that were clicked, in micros",
    "bids": "our bids, summed over auctions, in micros",
    "priced": "auctions with a rival's price",
    "lower": "of them, those in which our price was more than 1 % below the cheapest rival's",
    "higher": "the same, more than 1 % above",
    "far_lower": "the same, more than 10 % below",
    "gap": "logarithm of our price over the cheapest rival's, summed over priced auctions",
    "gap_squares": "its square, summed likewise",
    "matched": "auctions whose hotel and day of arrival were searched before",
    "own_price_change": "logarithm of our price over that of the same hotel and day of arrival before, summed over matched",
    "rival_price_change": "the same of the cheapest rival's price, over matched and priced auctions",
    "matched_rivals": "matched auctions with a rival's price, now and before",
    "new_hotels": "auctions of hotels that had none in the reference weeks",
    "bookings": "bookings that the day taught, of clicks of the last 30 days",
    "day0": "of them, those whose click was on the same day",
    "late": "of them, those whose click was on an earlier day",
    "booking_value": "gross value of these bookings, in micros",
    "checked": "of them, those of the hotel that was clicked: their rate can be held against the price shown",
    "inaccurate": "of these, those whose rate differs from the price shown by more than 5 %",
    "early_cancelled": "cancellations learned on the day of bookings at most a week old",
    "early_expected": "the same as bookings of these ages and lead times had them in the reference weeks",
    "sampled": "eligible auctions that the champion scored",
    "predicted_clicks": "its clicks, were we shown at the top of each of these",
    "predicted_bookings": "its bookings per click, summed over these",
    "predicted_value": "its gross value of a click, summed over these, in micros",
    "expected_bookings": "bookings that the champion expects the day to teach: of each earlier click what should come now",
    "champion_bookings": "what came of the same clicks",
}
"""By partner and point of sale. Bookings without a click stand under the partner `NO_CLICK`."""

WHOLE: Mapping[str, str] = {
    "planned_spend": "what the bids that stood were expected to cost, in micros",
    "planned_profit": "what they were expected to earn, in micros",
    "direct": "bookings of the day that no click is credited with",
    "listed": "hotels on the list",
    "covered": "of them, those with an auction",
    "rows": "rows of clicks and bookings delivered for the day",
    "repeated": "of them, rows delivered twice",
    "restated": "times that a table of the day was delivered anew with other rows",
    "last_seen_hour": "hour of the day of the last auction or click that was delivered, 0 to 24",
    "skew_compared": "served features that were compared with the training set's",
    "skew_equal": "of them, those that are exactly the same",
}
"""Of the market as a whole."""
