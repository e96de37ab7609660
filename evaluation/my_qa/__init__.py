"""Scripts for questions of one's own about pictures and videos, answered in words."""
