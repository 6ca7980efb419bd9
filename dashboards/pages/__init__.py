"""The pages: each module has `routes(site)`, and knows what its page shows and takes."""

from dashboards.pages import entry, overview, promotions, request, requests

ROUTES = (entry.routes, overview.routes, requests.routes, request.routes, promotions.routes)
