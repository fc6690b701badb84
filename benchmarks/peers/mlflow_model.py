"""MLflow: a model as code, which looks the ids up; run as a script it writes the model into a folder."""

import sys
from pathlib import Path

import mlflow


class Scorer(mlflow.pyfunc.PythonModel):
    """The peer."""

    def load_context(self, context):
        """Load the model in the server."""
        sys.path.insert(0, context.model_config["code"])
        import scorer

        self.score = scorer.score

    def predict(self, context, model_input, params=None):
        """Score the ids."""
        return self.score(model_input)


if __name__ == "__main__":
    mlflow.pyfunc.save_model(
        sys.argv[1],
        python_model=str(Path(__file__)),
        pip_requirements=["lightgbm"],
        model_config={"code": str(Path(__file__).parent)},
    )
else:
    mlflow.models.set_model(Scorer())
