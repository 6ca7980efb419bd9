"""What tells the candidates of a portfolio apart: the task's checks, its judge, and the majority.

Invariant: what a client sent or a model wrote is never matched, parsed or run in the serving process: checks
work in processes of their own, without the upstreams' keys. The serving process imports this package only
where a task has a portfolio; `router.picking` is the seam.
"""
