"""How fast the dashboard's pages are on a large ledger, and the pictures of them."""
