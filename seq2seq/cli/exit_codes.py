"""The exit codes of all commands."""

USER_ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 141  # the shell's numbers: 128 + SIGINT, 128 + SIGPIPE
STOPPED = 75  # EX_TEMPFAIL of sysexits.h: try again later
CODES = (
    f"Exit codes: 0 done; {USER_ERROR} a mistake, named on stderr; {STOPPED} a training that SIGTERM or SIGUSR1 has "
    f"stopped, and that the same command with resume=auto resumes; {INTERRUPTED} Ctrl-C."
)
