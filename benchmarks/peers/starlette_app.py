"""Starlette by hand, nothing checked: the least that a careful person writes."""

import orjson
from scorer import score
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route


async def scores(request):
    """Score the ids of the body."""
    found = score(orjson.loads(await request.body())["ids"])
    return Response(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


app = Starlette(routes=[Route("/scores", scores, methods=["POST"])])
