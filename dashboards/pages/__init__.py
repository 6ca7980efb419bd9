"""The pages: each module has `routes(site)`, and knows what its page shows and takes."""

from dashboards.pages import (
    entry,
    frontier,
    labels,
    nights,
    overview,
    playground,
    promotions,
    request,
    requests,
    slices,
    students,
)

ROUTES = (
    entry.routes,
    overview.routes,
    frontier.routes,
    slices.routes,
    requests.routes,
    request.routes,
    playground.routes,
    labels.routes,
    students.routes,
    nights.routes,
    promotions.routes,
)
