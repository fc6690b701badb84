"""A made market with a known truth: travellers, six rivals, one second-price partner, bookings and their fates.

Everything is a function of the seed and the day, so that a day fetched alone has the same bytes as in a row.

    world       hotels, rivals, seasons: what does not change from day to day
    demand      who searches for what on a day
    conversion  the hidden truth: who converts, who cancels, what a click is worth
    auction     bids, ranks, prices paid, clicks
    bookings    what is booked, at which rate, by whom
    fates       what becomes of a booking, and when we learn it
    day         one market day put together
    frames      arrays to canonical tables
    source      the market source

With the default settings the first 60 days have, on the mean (seed 7):

    opportunities a day   15,300   of 20,000 at the middle of the year; January is quiet
    shown                 61 %     at position 3.1
    clicks a day          680      7.2 % of those shown, 0.53 a click
    bookings a day        31       through clicks: 4.6 % of them; and 305 direct
    cancelled             15 %     of the stays due in that time; the longer ahead, the more

Cancellations follow the shares by lead time of the real hotel booking demand for three kinds of guest, and effects that
change sign with lead time (`fates`), stronger than one would find: a market must have something that trees can learn and
a regression cannot. Hotel-direct traffic clicks more than a global agency's 3 %: one partner and 60 hotels have to yield enough clicks and
bookings to train on, so fewer travellers than there click nothing (`auction`). Not in it yet: bookings of another
hotel than the one clicked, wrong prices in the feed, restated and censored partner reports.
"""
