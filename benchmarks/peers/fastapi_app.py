"""FastAPI as its tutorial has it: a body of pydantic, an async handler."""

from fastapi import FastAPI
from pydantic import BaseModel
from scorer import score


class Ids(BaseModel):
    """The body."""

    ids: list[int]


app = FastAPI()


@app.post("/scores")
async def scores(body: Ids) -> list[float]:
    """Score the ids of the body."""
    return score(body.ids).tolist()
