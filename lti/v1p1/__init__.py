"""LTI 1.0, 1.1 and 1.2: launches signed with OAuth 1.0a, and Basic Outcomes 1.1."""
