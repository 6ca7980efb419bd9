"""The pages: each module has `routes(site)`, and knows what its page shows and takes."""

from dashboards.pages import entry, overview, promotions

ROUTES = (entry.routes, overview.routes, promotions.routes)
