"""A search: policy and classifier are updated in turn, a step of the policy and then one of the classifier.

`learn` is the whole search as one call; `begin_search`, `run_search` and `search_step` are its parts.
"""

from augrad.search.begin import begin_search
from augrad.search.learn_policy import SearchResult, learn
from augrad.search.loop import Observer, Row, run_search
from augrad.search.state import SearchParts, SearchState, new_state
from augrad.search.step import search_step

__all__ = [
    "Observer",
    "Row",
    "SearchParts",
    "SearchResult",
    "SearchState",
    "begin_search",
    "learn",
    "new_state",
    "run_search",
    "search_step",
]
