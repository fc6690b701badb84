"""LitServe: one API server and one inference worker."""

import sys

import litserve


class Scorer(litserve.LitAPI):
    """The peer."""

    def setup(self, device):
        """Load the model in the worker."""
        import scorer

        self.score = scorer.score

    def decode_request(self, request):
        """The ids of the body."""
        return request["ids"]

    def predict(self, ids):
        """Score them."""
        return self.score(ids)

    def encode_response(self, output):
        """A list of JSON."""
        return output.tolist()


if __name__ == "__main__":
    litserve.LitServer(Scorer(), accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False, access_log=False
    )
