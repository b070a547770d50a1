"""What happens to courses that rooms above this one act on (imports go down, never up).

Receivers run in the sender's transaction.
"""

from django.dispatch import Signal

# A course was copied: parent and course (Course), assignments (pairs of Assignment: the parent's, its copy).
course_contents_copied = Signal()
# A copy may be taken back: course (Course), lock (bool: the rows that others could insert below are to be locked, since
# the course is about to be deleted). A receiver answers with a sentence that says why the copy has to stay, or "".
undoing_considered = Signal()
