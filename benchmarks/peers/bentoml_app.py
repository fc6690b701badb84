"""BentoML: one worker."""

import bentoml


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Scorer:
    """The peer."""

    def __init__(self):
        import scorer

        self.score = scorer.score

    @bentoml.api
    def scores(self, ids: list[int]) -> list[float]:
        """Score the ids of the body."""
        return self.score(ids).tolist()
