"""Tools that read or draw a network and do not run it: the lines of the job are all that is done."""

from showing import Job

Job().read()
