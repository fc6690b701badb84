"""S5, S3: what the policies in docker/s3/policies let each user do, tried on moto's server with IAM switched on.

moto (5) looks at actions and resources and passes over conditions, so that the prefixes of a listing are not tried here.
"""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.security.conftest import PLACES, POLICIES, Buckets

ALLOWED = {
    "server": {"get": {"bundle", "plan"}},
    "trainer": {"get": {"lake", "bundle", "plan", "bids", "report"}, "put": {"bundle"}},
    "worker": {
        "get": {*PLACES} - {"elsewhere"},
        "put": {"lake", "plan", "bids", "replaced", "report"},
        "delete": {"lake"},
    },
    "keeper": {"get": {*PLACES}, "put": {*PLACES} - {"elsewhere"}, "delete": {*PLACES} - {"elsewhere"}},
}
"""User, verb, places. Whatever is not here must be refused."""

OF_THE_BUCKET = ("delete_bucket", "put_bucket_policy", "put_bucket_acl", "create_bucket")


def refused(buckets: Buckets, user: str, verb: str, place: str) -> bool:
    client, key = buckets.client(user), PLACES[place]
    arguments = {"Body": b"x"} if verb == "put" else {}
    try:
        getattr(client, f"{verb}_object")(Bucket="bidwright", Key=key, **arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] in {"AccessDenied", "NoSuchKey"}, error
        return error.response["Error"]["Code"] == "AccessDenied"
    return False


@pytest.mark.ml_test_score("data5")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("verb", ["get", "put", "delete"])
@pytest.mark.parametrize("user", POLICIES)
def test_a_user_does_with_an_object_what_its_policy_says_and_nothing_else(
    buckets: Buckets, user: str, verb: str, place: str
) -> None:
    assert refused(buckets, user, verb, place) == (place not in ALLOWED[user].get(verb, set()))


@pytest.mark.parametrize("verb", OF_THE_BUCKET)
@pytest.mark.parametrize("user", POLICIES)
def test_no_user_rules_the_bucket(buckets: Buckets, user: str, verb: str) -> None:
    arguments = {"put_bucket_policy": {"Policy": "{}"}, "put_bucket_acl": {"ACL": "public-read-write"}}.get(verb, {})
    with pytest.raises(ClientError, match="AccessDenied"):
        getattr(buckets.client(user), verb)(Bucket="bidwright", **arguments)


def test_a_stranger_and_a_wrong_secret_are_refused(buckets: Buckets) -> None:
    for key, secret in (("AKIAIOSFODNN7EXAMPLE", "x" * 40), (buckets.keys["server"][0], "x" * 40)):
        stranger = Buckets(buckets.endpoint, {"stranger": (key, secret)})
        with pytest.raises(ClientError, match=r"InvalidAccessKeyId|SignatureDoesNotMatch"):
            stranger.client("stranger").get_object(Bucket="bidwright", Key=PLACES["plan"])
