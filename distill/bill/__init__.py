"""The bill of each student: what it cost, what it saved, and the day it pays itself back.

`student_bills` reads the ledger once; what is said of a student is a function of the values it returns.
`roll` adds where each student comes from and what became of it.
"""

from distill.bill.build import student_bills
from distill.bill.roll import Roll, roll
from distill.bill.text import render_roll
from distill.bill.tree import StudentBill

__all__ = ["Roll", "StudentBill", "render_roll", "roll", "student_bills"]
