"""The platform database: the only truth about what is live, why, and which mails wait.

Every function takes a `Database` (and opens its own transaction) or an open session, so that several
effects can share one transaction. What comes back is a frozen dataclass, never an object of the ORM.
"""
