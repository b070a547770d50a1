"""A small LMS to try the platform with: a Django project of its own that uses only `lti` of the platform."""
