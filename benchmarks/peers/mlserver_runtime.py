"""MLServer: a runtime of its own, in the server's process."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Scorer(MLModel):
    """The peer."""

    async def load(self) -> bool:
        """Load the model."""
        import scorer

        self.score = scorer.score
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Score the ids of the only input."""
        ids = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("scores", self.score(ids.ravel()))
        return InferenceResponse(model_name=self.name, outputs=[output])
