"""The pages: each module has `routes(site)`, and knows what its page shows and takes."""

from dashboards.pages import entry, frontier, overview, promotions, request, requests, slices

ROUTES = (
    entry.routes,
    overview.routes,
    frontier.routes,
    slices.routes,
    requests.routes,
    request.routes,
    promotions.routes,
)
