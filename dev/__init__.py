"""The local stack: all that Longrun is on AWS, on a laptop, with no account."""

#: In the emulator's output, stands around the name of a function in front of each line that it logged.
MARK = "\x1e"
