"""A sandbox meeting server: plugNmeet's API and webhooks with a room page in which browsers see who is there.

There is no sound and no picture; a recording is a WAV file with a tone. `python -m demo_lms.meetings` runs it.
"""
