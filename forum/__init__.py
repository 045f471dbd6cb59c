"""What the monolith and the services share: the API contract and the parts that keep it.

Schemas and limits, problem+json, tokens, paging, idempotency, events, calls to other modules, and the base of every
application (`forum.application`). Nothing here knows which process it runs in.
"""
