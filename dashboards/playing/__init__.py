"""The playground: one prompt put to several models and to the policy at once.

Invariant: nothing that is asked here is traffic: it teaches no router and counts in no report but as a cost.
"""
