"""LTI protocols in plain Python: messages, roles, services, LMS quirks. No Django, usable alone."""
