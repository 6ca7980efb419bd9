"""Self-practice: a student samples answers to what it failed, and checks keep those worth learning.

Rejection sampling as in STaR (Zelikman et al., 2022, arXiv 2203.14465), RFT (Yuan et al., 2023, arXiv
2308.01825) and ReST (Gulcehre et al., 2023, arXiv 2308.08998): one round a night, of the student of that
night, mixed into the dataset of the next.

Invariant: only a check's verdict makes a sample worth learning, never a judge's; and no prompt is practised
that is held out for validation, test or a suite. The folder does not know how datasets are mixed.
"""

from distill.practice.gain import Gain, gain_of_round
from distill.practice.report import practice_report
from distill.practice.round import practise, round_to_mix, why_no_round

__all__ = ["Gain", "gain_of_round", "practice_report", "practise", "round_to_mix", "why_no_round"]
