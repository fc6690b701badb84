"""A made market with a known truth: travellers, six rivals, three partners, and us, to whose bids it answers.

Everything is a function of the seed, the settings, the scenarios and our published bids. docs/simulator.md tells what
it does; in the order in which a day is made:

    world            hotels, points of sale, seasons: what does not change from day to day
    partners/        one file per partner: how it ranks, what it charges, how its visitors click
    scenarios        what can happen to the market, each with its true effect
    rivals           six competitors with price policies and strategies
    demand           who searches for what on a day
    conversion       the hidden truth of who converts and who cancels
    auction          the ladder of a search: what each place needs, costs and draws, whatever we bid
    bids             our published bids, and the house policy beside them
    day              one market day put together: contests before we bid, outcomes after
    bookings, fates  what is booked, what becomes of it, and when we learn it
    truth            what is frozen of each resolved day, and what no model may see
    frames, reports, partner_reports   arrays to canonical tables, and to reports in the partners' shapes
    source           the market source

Cancellations follow the shares by lead time of the real hotel booking demand for three kinds of guest. Around them are
effects that change sign with lead time (`fates`), and interactions of device with lead time, place and price, stronger
than one would find: a market must have something that trees can learn and a regression cannot.
"""
