"""Finding people and households of one's own region, counting them, taking lists out."""

from app.services.search.filters import Criteria, FilterNameTaken
from app.services.search.households import HouseholdCriteria
from app.services.search.people import PeopleCriteria

__all__ = ["Criteria", "FilterNameTaken", "HouseholdCriteria", "PeopleCriteria"]
