"""A made market with a known truth: travellers, six rivals, one second-price partner, bookings and their fates.

Everything is a function of the seed and the day, so that a day fetched alone has the same bytes as in a row.

    world     hotels, rivals, seasons: what does not change from day to day
    demand    who searches for what on a day
    auction   bids, ranks, prices paid, clicks
    conversion  which searches would book, and what a booking is worth before the auction
    bookings  what is booked, at which rate, by whom
    fates     what becomes of a booking, and when we learn it
    day       one market day put together
    frames    arrays to canonical tables
    source    the market source
"""
