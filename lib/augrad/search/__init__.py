"""A search: policy and classifier are updated together, one step of each after the other."""

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
