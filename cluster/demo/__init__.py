"""The demonstration: the whole pipeline on one machine, under load and under attack, with all its promises checked.

It deploys two tokens and a market, lets hundreds of users pay and trade, kills processes in the middle of it, and then
proves from the log that nothing was lost, doubled or made out of nothing.
"""

from .scenario import run

__all__ = ["run"]
