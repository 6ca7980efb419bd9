"""The pages: each module has `routes(site)`, and knows what its page shows and takes.

Those whose charts take long have `previews(site)` too: what of them is drawn before somebody asks.
"""

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
PREVIEWS = (overview.previews, frontier.previews, slices.previews)
